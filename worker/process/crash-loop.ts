/**
 * Crash loop: whether a child dies again and again and computes nothing in between. Its fault is then one that another
 * start does not mend: a broken GPU, a library that does not fit, a machine without memory.
 *
 *   sound -> looping (more than `MAX_DEATHS` deaths in `WINDOW_MS`) -> sound (a batch was computed, or the child stayed up for
 *   `WINDOW_MS`)
 *
 * While it loops, each further death doubles the wait before the next child. Deaths by one batch that runs again by halves
 * count once, because the batch is at fault.
 */
import type { Clock } from '../../shared/base/clock.js';

export interface CrashLoop {
  /** A child has died. `batch` is what it was computing, whole or in part; null when it computed none. */
  died(batch: object | null): void;
  /** A child is up. */
  up(): void;
  /** A batch was computed. */
  computed(): void;
  readonly isLooping: boolean;
  /** How long to wait before the next child is started. */
  readonly waitMs: number;
}

export const MAX_DEATHS = 5;
export const WINDOW_MS = 60_000;
export const LOOP_WAIT_MS = 10_000;
export const MAX_WAIT_MS = 60_000;

/** Returns the record of the deaths of one child after another. */
export function createCrashLoop(clock: Clock): CrashLoop {
  /** When children died since a batch was last computed, as the clock's monotonic time. */
  let deaths: number[] = [];
  /** How many died since the loop began; 0 while there is none. */
  let loopingDeaths = 0;
  let upSinceMs: number | null = null;
  const blamed = new WeakSet<object>();

  const hasStayedUp = () => upSinceMs !== null && clock.monotonic() - upSinceMs >= WINDOW_MS;

  function forget(): void {
    deaths = [];
    loopingDeaths = 0;
  }

  return {
    died(batch) {
      if (hasStayedUp()) forget();
      upSinceMs = null;
      if (batch && blamed.has(batch)) return;
      if (batch) blamed.add(batch);
      const now = clock.monotonic();
      deaths = [...deaths.filter((ms) => now - ms < WINDOW_MS), now];
      if (loopingDeaths > 0 || deaths.length > MAX_DEATHS) loopingDeaths++;
    },
    up() {
      upSinceMs = clock.monotonic();
    },
    computed: forget,
    get isLooping() {
      return loopingDeaths > 0 && !hasStayedUp();
    },
    get waitMs() {
      return loopingDeaths === 0 ? 0 : Math.min(LOOP_WAIT_MS * 2 ** (loopingDeaths - 1), MAX_WAIT_MS);
    },
  };
}

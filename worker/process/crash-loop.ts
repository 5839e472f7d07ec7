/**
 * Respawns: how often a child may die. One that dies again and again, and computes nothing in between, has a fault that
 * starting it does not mend: a broken GPU, a library that does not fit, a machine without memory.
 *
 *   within budget -> spent (more than `MAX_DEATHS` in `WINDOW_MS`) -> within budget (a batch was computed, or it stood for
 *   `WINDOW_MS`)
 *
 * While it is spent, each further death doubles the wait for the next child. What a child dies of while one batch is
 * bisected counts once, since the batch is at fault.
 */
import type { Clock } from '../../shared/base/clock.js';

export const MAX_DEATHS = 5;
export const WINDOW_MS = 60_000;
const FIRST_WAIT_MS = 10_000;
export const MAX_WAIT_MS = 60_000;

export function createRespawns(clock: Clock) {
  /** When, while nothing was computed. */
  let deaths: number[] = [];
  /** Those since it was spent; 0: within budget. */
  let beyond = 0;
  let upSinceMs: number | null = null;
  const blamed = new WeakSet<object>();

  const hasStood = () => upSinceMs !== null && clock.monotonic() - upSinceMs >= WINDOW_MS;

  function forget(): void {
    deaths = [];
    beyond = 0;
  }

  return {
    /** `of`: the batch that it was computing, whole or a part of it; null while it computed none. */
    died(of: object | null): void {
      if (hasStood()) forget();
      upSinceMs = null;
      if (of && blamed.has(of)) return;
      if (of) blamed.add(of);
      const now = clock.monotonic();
      deaths = [...deaths.filter((ms) => now - ms < WINDOW_MS), now];
      if (beyond > 0 || deaths.length > MAX_DEATHS) beyond++;
    },
    up(): void {
      upSinceMs = clock.monotonic();
    },
    /** A batch was computed. */
    computed: forget,
    get isSpent(): boolean {
      return beyond > 0 && !hasStood();
    },
    /** Before the next child is started. */
    get waitMs(): number {
      return beyond === 0 ? 0 : Math.min(FIRST_WAIT_MS * 2 ** (beyond - 1), MAX_WAIT_MS);
    },
  };
}

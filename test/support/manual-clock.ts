/**
 * A clock that a test advances by itself.
 */
import type { Clock } from '../../shared/base/clock.js';

interface Timer {
  dueMs: number;
  act: () => void;
}

export interface ManualClock extends Clock {
  /** Lets everything that is due happen in its order, then lets promises settle. */
  advance(ms: number): Promise<void>;
}

export function createManualClock(startMs = 1_700_000_000_000): ManualClock {
  let nowMs = startMs;
  const timers = new Set<Timer>();

  const after = (delayMs: number, act: () => void) => {
    const timer = { dueMs: nowMs + delayMs, act };
    timers.add(timer);
    return () => void timers.delete(timer);
  };

  return {
    now: () => nowMs,
    monotonic: () => nowMs,
    after,
    soon: (act) => void after(0, act),
    every(periodMs, act) {
      let cancel = () => {};
      const again = () => {
        cancel = after(periodMs, again);
        act();
      };
      cancel = after(periodMs, again);
      return () => cancel();
    },
    async advance(ms) {
      const endMs = nowMs + ms;
      for (;;) {
        await settle();
        const due = [...timers].filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
        if (!due) break;
        timers.delete(due);
        nowMs = Math.max(nowMs, due.dueMs);
        due.act();
      }
      nowMs = endMs;
    },
  };
}

/** Lets promises that wait for nothing but each other settle. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

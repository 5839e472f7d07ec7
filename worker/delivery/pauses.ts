/**
 * Pauses: what is to come again soon is waited for in this process, the rest in the queue.
 *
 * The second attempt follows five seconds after the first; through the queue it would cost more than the attempt. Nothing
 * rests on this process: the agenda finds what was due when we die.
 */
import type { Clock } from '../../shared/base/clock.js';

/** Half of what the agenda waits before it looks for a delivery. */
const SOON_MS = 10_000;
/** At once; beyond these the queue serves. */
const MOST = 10_000;

export interface Pauses {
  /** False where the queue is to wait: the pause is long, or too many are waited for. */
  wait(id: string, delayMs: number): boolean;
  /** Ends the waiting; answers what was waited for. */
  close(): string[];
}

export function createPauses(clock: Clock, comeUp: (id: string) => void): Pauses {
  const waiting = new Map<string, () => void>();
  let isClosed = false;

  return {
    wait(id, delayMs) {
      if (isClosed || delayMs > SOON_MS || waiting.size >= MOST) return false;
      waiting.get(id)?.();
      const cancel = clock.after(delayMs, () => {
        waiting.delete(id);
        comeUp(id);
      });
      waiting.set(id, cancel);
      return true;
    },
    close() {
      isClosed = true;
      for (const cancel of waiting.values()) cancel();
      return [...waiting.keys()];
    },
  };
}

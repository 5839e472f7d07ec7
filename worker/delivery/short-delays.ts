/**
 * Pauses: what is to come again soon is waited for in this process, the rest in the queue.
 *
 * The second attempt follows five seconds after the first; through the queue it would cost more than the attempt. Nothing
 * rests on this process: the agenda finds what was due when we die.
 */
import type { Clock } from '../../shared/base/clock.js';

/** Half of what the agenda waits before it looks for a delivery. */
const SOON_MS = 10_000;
/** Waited for at once; beyond these the queue serves. */
const MOST = 10_000;
/** Attended to at once; beyond these, too: many may have failed together, and come up together. */
const AT_ONCE = 250;

export interface Pauses {
  /** False where the queue is to wait: the pause is long, or too many are waited for. */
  wait(id: string, delayMs: number): boolean;
  /** Ends the waiting; answers what was waited for. */
  close(): string[];
}

/** What is done when a pause is over; neither rejects. */
export interface Over {
  attend(id: string): Promise<void>;
  /** To the queue. */
  handOn(id: string): void;
}

export function createPauses(clock: Clock, over: Over): Pauses {
  const waiting = new Map<string, () => void>();
  let attended = 0;
  let isClosed = false;

  function comeUp(id: string): void {
    if (attended >= AT_ONCE) {
      over.handOn(id);
      return;
    }
    attended++;
    void over.attend(id).finally(() => attended--);
  }

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

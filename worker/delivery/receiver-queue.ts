/**
 * Lines: deliveries that wait in this process for a turn of their receiver, which costs nothing while they wait.
 *
 * Nothing rests on them: what waits is pending in Redis, and the agenda finds it if we die. An id stands in a line once.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { Turns } from './circuit-breaker.js';

/** In all lines; who finds them full comes back later. */
const MOST = 100_000;

/** Its turn may have come; `advance` is to be called once it is done with, whatever came of it. */
type Go = (id: string, receiver: string) => void;

export interface Lines {
  /** False where there is no room. */
  wait(receiver: string, id: string): boolean;
  /** To be called when an attempt to the receiver has ended: the next go, now or when it has rested. */
  advance(receiver: string): void;
  readonly length: number;
  /** Ends the waiting; answers who waited. */
  close(): string[];
}

export function createLines(turns: Turns, clock: Clock, go: Go): Lines {
  /** Sets keep their order. */
  const lines = new Map<string, Set<string>>();
  /** Receivers that are waited for, and how not to. */
  const resting = new Map<string, () => void>();
  let length = 0;
  let isClosed = false;

  function advance(receiver: string): void {
    const line = lines.get(receiver);
    if (!line || isClosed) return;
    const restMs = turns.restMs(receiver);
    if (restMs > 0) wake(receiver, restMs);
    let free = turns.free(receiver);
    for (const id of line) {
      if (free-- <= 0) break;
      line.delete(id);
      length--;
      go(id, receiver);
    }
    if (line.size === 0) lines.delete(receiver);
  }

  function wake(receiver: string, afterMs: number): void {
    if (resting.has(receiver)) return;
    const cancel = clock.after(Math.ceil(afterMs), () => {
      resting.delete(receiver);
      advance(receiver);
    });
    resting.set(receiver, cancel);
  }

  return {
    wait(receiver, id) {
      const line = lines.get(receiver) ?? new Set();
      if (!line.has(id)) {
        if (isClosed || length >= MOST) return false;
        lines.set(receiver, line.add(id));
        length++;
      }
      // It may be resting, or have rested, with nothing under way.
      advance(receiver);
      return true;
    },
    advance,
    get length() {
      return length;
    },
    close() {
      isClosed = true;
      for (const cancel of resting.values()) cancel();
      const waited = [...lines.values()].flatMap((line) => [...line]);
      lines.clear();
      length = 0;
      return waited;
    },
  };
}

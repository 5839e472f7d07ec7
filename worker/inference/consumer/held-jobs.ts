/**
 * Jobs in hand, and how they are let go of before they have ended.
 *
 * `leave`: what a job has not begun to compute is taken out of the batches that still form; what computes goes on.
 * `drop`: nothing of it is waited for any more.
 */

export interface Held {
  /** Aborts when the job is to leave, or is dropped. */
  readonly signal: AbortSignal;
  /** Rejects when the job is dropped; never resolves. */
  readonly dropped: Promise<never>;
  drop(reason: Error): void;
  /** It has ended. */
  release(): void;
}

export interface InHand {
  hold(): Held;
  /** Those in hand, and those that come. */
  leaveAll(reason: Error): void;
  dropAll(reason: Error): void;
}

export function createInHand(): InHand {
  const all = new Set<{ leave(reason: Error): void; drop(reason: Error): void }>();
  let leaving: Error | null = null;

  return {
    hold() {
      const left = new AbortController();
      let reject: (reason: Error) => void = () => {};
      const dropped = new Promise<never>((_, rejectIt) => {
        reject = rejectIt;
      });
      // Nobody may be waiting.
      dropped.catch(() => undefined);
      const leave = (reason: Error) => left.abort(reason);
      const drop = (reason: Error) => {
        leave(reason);
        reject(reason);
      };
      const held = { leave, drop };
      all.add(held);
      if (leaving) leave(leaving);
      return { signal: left.signal, dropped, drop, release: () => void all.delete(held) };
    },
    leaveAll(reason) {
      leaving = reason;
      for (const { leave } of all) leave(reason);
    },
    dropAll(reason) {
      for (const { drop } of all) drop(reason);
    },
  };
}

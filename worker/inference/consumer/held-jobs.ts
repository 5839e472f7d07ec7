/**
 * Held jobs: the jobs that this worker runs, and how they are let go of before they have ended.
 *
 *   held -> left: its instances leave the batches that still form; what computes goes on
 *   held -> dropped: nothing of it is waited for any more
 */
export interface HeldJob {
  /** Aborts when the job is to leave, or is dropped. */
  readonly signal: AbortSignal;
  /** Rejects when the job is dropped; never resolves. */
  readonly dropped: Promise<never>;
  drop(reason: Error): void;
  /** The job has ended. */
  release(): void;
}

export interface HeldJobs {
  hold(): HeldJob;
  /** Has all jobs leave: those that are held and those that come. */
  leaveAll(reason: Error): void;
  /** Drops the jobs that are held. */
  dropAll(reason: Error): void;
}

/** Returns the held jobs of one consumer, none at first. */
export function createHeldJobs(): HeldJobs {
  const all = new Set<{ leave(reason: Error): void; drop(reason: Error): void }>();
  let leaving: Error | null = null;

  return {
    hold() {
      const left = new AbortController();
      let reject: (reason: Error) => void = () => {};
      const dropped = new Promise<never>((_, rejectIt) => {
        reject = rejectIt;
      });
      // A job may be dropped while nobody waits for it.
      dropped.catch(() => undefined);
      const leave = (reason: Error) => left.abort(reason);
      const drop = (reason: Error) => {
        leave(reason);
        reject(reason);
      };
      const job = { leave, drop };
      all.add(job);
      if (leaving) leave(leaving);
      return { signal: left.signal, dropped, drop, release: () => void all.delete(job) };
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

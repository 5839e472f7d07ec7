/**
 * Ends jobs that no execution ends: a canceller, a deadline, or predictions that were kept.
 *
 * Promises: a job has one end, which never changes. Whoever comes second is told what it found.
 */

import { type JobEnd, type JobError, jobError, type TerminalStatus } from '../../contract/job.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';

/** How one job shall end. */
export interface Ending {
  id: string;
  status: TerminalStatus;
  /** The states that the job may be in, as `,queued,running,`. */
  from: string;
  /** The JSON of a `JobEnd`. */
  end: string;
  /** The packed predictions. */
  output?: Buffer;
}

/** Ends jobs of one version; returns for each `settled` or the status that it found: `gone` without a record. */
export type SettleJobs = (model: string, version: number, endings: readonly Ending[]) => Promise<string[]>;

/** Returns the function that ends jobs. */
export function createSettle({ redis, keys }: { redis: Redis; keys: Keys }): SettleJobs {
  const settleJobs = loadScript(redis, 'settle-jobs');
  return (model, version, endings) =>
    settleJobs(
      {
        ...endingKeys(keys, model, version),
        jobPrefix: keys.job(''),
        model,
        endedChannel: keys.ended,
        stoppedChannel: keys.stopped,
      },
      endings.map(({ id, status, from, end, output }) => ({
        id,
        from,
        status,
        ending: end,
        output: output ?? '',
      })),
    );
}

/** Returns the keys that a script needs to end jobs. */
export function endingKeys(keys: Keys, model: string, version: number) {
  return {
    waitingKey: keys.waiting(model, version),
    dueIndexKey: keys.dueIndex,
    queuedKey: keys.queued,
    outboxKey: keys.outbox,
    subscribedKey: keys.subscribed,
    queueKey: keys.queue(model, version),
  };
}

/** Returns the JSON of the end of a job that no execution ended. */
export function endText(error: JobError | null): string {
  return JSON.stringify({ error, usageMs: 0, timings: null } satisfies JobEnd);
}

export const EXPIRED = endText(jobError('expired'));

/**
 * How an execution, a canceller or a deadline ends jobs: one script for all.
 *
 * Promises: a job has one end, which never changes; whoever comes second is told what it found.
 */

import { type JobEnd, type JobError, jobError, type TerminalStatus } from '../../contract/job.js';
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { SETTLE } from './job-scripts.js';

export interface Ending {
  id: string;
  status: TerminalStatus;
  /** States that it may come from, ",queued,running,". */
  from: string;
  /** JSON of a `JobEnd`. */
  end: string;
  /** Of an execution: under what it runs, and what it computed. */
  ticket?: string;
  token?: string;
  output?: Buffer | null;
  /** Instead of ending, the job is queued again after a pause in milliseconds, if its deadline is later than that. */
  retryAfterMs?: number;
  /** JSON of the attempt, for the ledger. */
  attempt?: string;
}

/**
 * Ends jobs of one version. Returns for each `settled`, `retried`, or the status that it found ("gone" without a record).
 */
export type SettleJobs = (model: string, version: number, endings: readonly Ending[]) => Promise<string[]>;

export function createSettle({ redis, keys }: { redis: Redis; keys: Keys }): SettleJobs {
  const settleScript = defineScript<string[]>(redis, 'sluiceSettle', SETTLE);
  return (model, version, endings) =>
    settleScript(endingKeys(keys, model, version), [
      keys.job(''),
      model,
      keys.ended,
      keys.stopped,
      keys.taken(model, version, ''),
      keys.changed,
      ...endings.flatMap((ending) => [
        ending.id,
        ending.ticket ?? '',
        ending.from,
        ending.token ?? '',
        ending.status,
        ending.end,
        ending.output ?? '',
        ending.retryAfterMs ?? '',
        ending.attempt ?? '',
      ]),
    ]);
}

/** Keys that ending a job takes, in the order that the scripts expect. */
export function endingKeys(keys: Keys, model: string, version: number): string[] {
  return [keys.waiting(model, version), keys.dueIndex, keys.queued, keys.outbox, keys.subscribed];
}

/** The end of a job that no execution ended. */
export function endText(error: JobError | null): string {
  return JSON.stringify({ error, usageMs: 0, timings: null } satisfies JobEnd);
}

export const EXPIRED = endText(jobError('expired'));

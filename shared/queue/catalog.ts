/**
 * Every queue: its name, what its messages carry, how BullMQ is to treat them.
 *
 *   inference-<model>-<version>   tickets: whoever takes one may take jobs of that version, up to a batch
 *   batches                       ids of batches: whoever takes one drives it to its end
 *   webhooks                      ids of deliveries
 *
 * BullMQ is transport: a message is an id, what it stands for is elsewhere. Ended messages are removed at once, and the
 * event stream, which nobody reads, is capped.
 */
import type { DefaultJobOptions } from 'bullmq';

export const BATCHES_QUEUE = 'batches';
export const WEBHOOKS_QUEUE = 'webhooks';

export function inferenceQueue(model: string, version: number): string {
  return `inference-${model}-${version}`;
}

const REMOVE_AT_ONCE = { removeOnComplete: true, removeOnFail: true } as const;

/** A ticket that fails has jobs that were not settled: it comes back after a pause, as often as it takes; the record counts. */
export const INFERENCE_OPTIONS = {
  ...REMOVE_AT_ONCE,
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 1000 },
} as const satisfies DefaultJobOptions;

/** A driver that fails is followed by another, which goes on where it was. */
export const BATCH_OPTIONS = {
  ...REMOVE_AT_ONCE,
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 1000 },
} as const satisfies DefaultJobOptions;

/** Attempts and pauses of a delivery are decided by its consumer; what fails here is its bookkeeping, tried until it works. */
export const WEBHOOK_OPTIONS = {
  ...REMOVE_AT_ONCE,
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 1000 },
} as const satisfies DefaultJobOptions;

export const EVENT_STREAM_LENGTH = 100;

/** A lost worker's tickets are taken again after at most lockDuration + stalledInterval. */
export const WORKER_OPTIONS = {
  lockDuration: 8000,
  stalledInterval: 4000,
  /** Never let BullMQ give a job up: the record counts starts, and ends it with an error of ours. */
  maxStalledCount: 1_000_000,
  /** Seconds: a wake-up that went to a connection which is dead already is made good after so many. */
  drainDelay: 1,
  runRetryDelay: 1000,
} as const;

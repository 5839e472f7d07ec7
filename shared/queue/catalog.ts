/**
 * The catalogue of queues: the name of each, the content of its messages, and BullMQ's options for it.
 *
 *   inference-<model>-<version>   wake tickets: the worker that takes one may start jobs of that version, up to a batch
 *   batches                       ids of batches: the worker that takes one drives the batch to its end
 *   webhooks                      ids of deliveries
 *
 * BullMQ is transport: a message is an id, and our record holds everything else. Ended messages are removed at once, and the
 * event stream, which nobody reads, is capped.
 */
import type { DefaultJobOptions } from 'bullmq';

export const BATCHES_QUEUE = 'batches';
export const WEBHOOKS_QUEUE = 'webhooks';

/** Returns the name of the queue of a version's wake tickets. */
export function inferenceQueue(model: string, version: number): string {
  return `inference-${model}-${version}`;
}

const REMOVE_AT_ONCE = { removeOnComplete: true, removeOnFail: true } as const;

/** A wake ticket fails while its jobs are not settled. It comes back after a pause without limit, because the record counts the starts. */
export const INFERENCE_OPTIONS = {
  ...REMOVE_AT_ONCE,
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 1000 },
} as const satisfies DefaultJobOptions;

/** When a driver fails, another one takes the batch and goes on where it was. */
export const BATCH_OPTIONS = {
  ...REMOVE_AT_ONCE,
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 1000 },
} as const satisfies DefaultJobOptions;

/** The consumer decides about attempts and pauses of a delivery. A message fails only when bookkeeping failed, and it is tried until that works. */
export const WEBHOOK_OPTIONS = {
  ...REMOVE_AT_ONCE,
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 1000 },
} as const satisfies DefaultJobOptions;

export const EVENT_STREAM_LENGTH = 100;

/** Another worker takes a lost worker's messages after at most lockDuration + stalledInterval. */
export const WORKER_OPTIONS = {
  lockDuration: 8000,
  stalledInterval: 4000,
  /** BullMQ never gives a message up: the record counts the starts, and ends a job with an error of our table. */
  maxStalledCount: 1_000_000,
  /** In seconds: a wake-up that was sent to a dead connection is repaired after this time. */
  drainDelay: 1,
  runRetryDelay: 1000,
} as const;

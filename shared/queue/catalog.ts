/**
 * The catalogue of queues: the name of each, the content of its messages, and BullMQ's options.
 *
 *   inference-<model>-<version>   wake tickets: the worker that takes one may start jobs of that version, up to a batch
 *   batches                       ids of batches: the worker that takes one drives the batch to its end
 *   webhooks                      ids of deliveries: the worker that takes one makes the next attempt
 *
 * BullMQ is transport: a message is an id, and our record holds everything else.
 */
import type { DefaultJobOptions } from './bullmq.js';

export const BATCHES_QUEUE = 'batches';
export const WEBHOOKS_QUEUE = 'webhooks';

/** Returns the name of the queue of a version's wake tickets. */
export function inferenceQueue(model: string, version: number): string {
  return `inference-${model}-${version}`;
}

/**
 * The options of every message. BullMQ removes a message that has ended. A message that fails comes back after a second, without
 * limit, because our record decides when its work is over.
 */
export const MESSAGE_OPTIONS = {
  removeOnComplete: true,
  removeOnFail: true,
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 1000 },
} as const satisfies DefaultJobOptions;

/** The cap of BullMQ's event stream, which nobody reads. */
export const EVENT_STREAM_LENGTH = 100;

/** The options of every consumer. Another worker takes a lost worker's messages after at most lockDuration + stalledInterval. */
export const WORKER_OPTIONS = {
  lockDuration: 8000,
  stalledInterval: 4000,
  /** BullMQ never gives a message up, because the record counts the starts and ends a job with an error of our table. */
  maxStalledCount: 1_000_000,
  /** In seconds: a wake-up that was sent to a dead connection is repaired after this time. */
  drainDelay: 1,
  runRetryDelay: 1000,
} as const;

/**
 * Every queue: its name, what its messages carry, how BullMQ is to treat them.
 *
 * BullMQ is transport: a message is an id, the record it names is elsewhere. Ended messages are removed at once, and the
 * event stream, which nobody reads, is capped.
 */
import type { DefaultJobOptions } from 'bullmq';
import { PRIORITIES, type Priority } from '../contract/job.js';

export const WEBHOOKS_QUEUE = 'webhooks';

export function inferenceQueue(model: string): string {
  return `inference-${model}`;
}

/** BullMQ takes messages without a priority (0) first, then 1, 2, … */
export function bullPriority(priority: Priority): number {
  return PRIORITIES.indexOf(priority);
}

const REMOVE_AT_ONCE = { removeOnComplete: true, removeOnFail: true } as const;

/** A message that fails was not settled: it comes back after a pause, as often as it takes; the record counts. */
export const INFERENCE_OPTIONS = {
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

/** A lost worker's jobs start again after at most lockDuration + stalledInterval. */
export const WORKER_OPTIONS = {
  lockDuration: 8000,
  stalledInterval: 4000,
  /** Never let BullMQ give a job up: the record counts starts, and ends it with an error of ours. */
  maxStalledCount: 1_000_000,
  drainDelay: 5,
  runRetryDelay: 1000,
} as const;

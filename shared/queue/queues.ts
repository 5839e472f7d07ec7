/**
 * The two things that we ask of BullMQ: carry an id, and forget it.
 */
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import {
  BATCH_OPTIONS,
  BATCHES_QUEUE,
  EVENT_STREAM_LENGTH,
  INFERENCE_OPTIONS,
  inferenceQueue,
} from './catalog.js';

export interface InferenceQueues {
  /** Does nothing when the queue already holds this ticket. */
  add(model: string, version: number, ticket: string): Promise<void>;
  /** Counts the wake tickets that no worker has taken or finished. */
  count(model: string, version: number): Promise<number>;
  close(): Promise<void>;
}

/** Opens one queue of the catalogue for adding messages; `onError` hears every fault of its connection. */
export function openQueue(
  redis: Redis,
  prefix: string,
  name: string,
  onError: (error: Error) => void,
): Queue {
  const queue = new Queue(name, {
    connection: redis,
    prefix,
    skipWaitingForReady: true,
    streams: { events: { maxLen: EVENT_STREAM_LENGTH } },
  });
  queue.on('error', onError);
  return queue;
}

/** Opens the queues of all versions, each when it is first used. */
export function openInferenceQueues(
  redis: Redis,
  prefix: string,
  onError: (error: Error) => void,
): InferenceQueues {
  const queues = new Map<string, Queue>();
  const queueOf = (model: string, version: number) => {
    const name = inferenceQueue(model, version);
    const open = queues.get(name) ?? openQueue(redis, prefix, name, onError);
    queues.set(name, open);
    return open;
  };
  return {
    async add(model, version, ticket) {
      await queueOf(model, version).add('ticket', null, { ...INFERENCE_OPTIONS, jobId: ticket });
    },
    async count(model, version) {
      const counts = await queueOf(model, version).getJobCounts();
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}

export interface BatchQueue {
  /** Does nothing when the queue already holds this batch. */
  add(id: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens the queue of file batches. */
export function openBatchQueue(redis: Redis, prefix: string, onError: (error: Error) => void): BatchQueue {
  const queue = openQueue(redis, prefix, BATCHES_QUEUE, onError);
  return {
    async add(id) {
      await queue.add('batch', null, { ...BATCH_OPTIONS, jobId: id });
    },
    close: () => queue.close(),
  };
}

/**
 * The queues, as those see them who add messages. We ask two things of BullMQ: to carry an id, and to forget it.
 *
 * To add an id that the queue already holds does nothing.
 */

import type { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';
import { Queue } from './bullmq.js';
import {
  BATCHES_QUEUE,
  EVENT_STREAM_LENGTH,
  inferenceQueue,
  MESSAGE_OPTIONS,
  WEBHOOKS_QUEUE,
} from './catalog.js';

export interface InferenceQueues {
  /** Adds a wake ticket of a version. */
  add(model: string, version: number, ticket: string): Promise<void>;
  /** Counts the wake tickets that no worker has taken or finished. */
  count(model: string, version: number): Promise<number>;
  /** Forgets the queue of a version that is gone; returns the tickets that it still held. */
  drop(model: string, version: number): Promise<string[]>;
  close(): Promise<void>;
}

export interface BatchQueue {
  add(id: string): Promise<void>;
  close(): Promise<void>;
}

export interface WebhookQueue {
  /** Adds a delivery, which BullMQ hands out after `delayMs`. */
  add(id: string, delayMs: number): Promise<void>;
  /** Has BullMQ hand out a delivery now, even if the queue holds it back for later. */
  addNow(id: string): Promise<void>;
  close(): Promise<void>;
}

const MAX_OPEN = 1000;

type OnError = (error: Error) => void;

/** Opens the queues of all versions, each when it is first used. `onError` hears every fault of the connection. */
export function openInferenceQueues(redis: Redis, prefix: string, onError: OnError): InferenceQueues {
  // A process that did not drop a queue itself forgets it when it has not used it for long.
  const queues = new LRUCache<string, Queue>({ max: MAX_OPEN, dispose: (queue) => void queue.close() });
  const queueOf = (model: string, version: number) => {
    const name = inferenceQueue(model, version);
    const open = queues.get(name) ?? openQueue(redis, prefix, name, onError);
    queues.set(name, open);
    return open;
  };
  return {
    async add(model, version, ticket) {
      await queueOf(model, version).add('ticket', null, { ...MESSAGE_OPTIONS, jobId: ticket });
    },
    async count(model, version) {
      const counts = await queueOf(model, version).getJobCounts();
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    async drop(model, version) {
      const queue = queueOf(model, version);
      const tickets = (await queue.getJobs()).flatMap(({ id }) => id ?? []);
      await queue.obliterate({ force: true });
      queues.delete(queue.name);
      return tickets;
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}

/** Opens the queue of batches. `onError` hears every fault of the connection. */
export function openBatchQueue(redis: Redis, prefix: string, onError: OnError): BatchQueue {
  const queue = openQueue(redis, prefix, BATCHES_QUEUE, onError);
  return {
    async add(id) {
      await queue.add('batch', null, { ...MESSAGE_OPTIONS, jobId: id });
    },
    close: () => queue.close(),
  };
}

/** Opens the queue of deliveries. `onError` hears every fault of the connection. */
export function openWebhookQueue(redis: Redis, prefix: string, onError: OnError): WebhookQueue {
  const queue = openQueue(redis, prefix, WEBHOOKS_QUEUE, onError);
  const add = (id: string, delay: number) =>
    queue.add('delivery', null, { ...MESSAGE_OPTIONS, jobId: id, delay });
  return {
    async add(id, delayMs) {
      await add(id, delayMs);
    },
    async addNow(id) {
      const job = await add(id, 0);
      // A job that is not delayed waits or runs already. It may also have started since the check, so the promotion may fail.
      if (await job.isDelayed()) await job.promote().catch(() => undefined);
    },
    close: () => queue.close(),
  };
}

function openQueue(redis: Redis, prefix: string, name: string, onError: OnError): Queue {
  const queue = new Queue(name, {
    connection: redis,
    prefix,
    skipWaitingForReady: true,
    streams: { events: { maxLen: EVENT_STREAM_LENGTH } },
  });
  queue.on('error', onError);
  return queue;
}

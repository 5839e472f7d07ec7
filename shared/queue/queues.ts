/**
 * BullMQ behind the two things that we ask of it: carry an id, and forget it.
 */
import { Queue } from 'bullmq';
import type { Redis } from '../base/redis.js';
import type { Priority } from '../contract/job.js';
import { bullPriority, EVENT_STREAM_LENGTH, INFERENCE_OPTIONS, inferenceQueue } from './catalog.js';

export interface InferenceQueues {
  /** Does nothing when the queue already holds this id. */
  add(model: string, id: string, priority: Priority): Promise<void>;
  /** Does nothing when the queue does not hold this id or a worker has it. */
  remove(model: string, id: string): Promise<void>;
  close(): Promise<void>;
}

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

export function openInferenceQueues(
  redis: Redis,
  prefix: string,
  onError: (error: Error) => void,
): InferenceQueues {
  const queues = new Map<string, Queue>();
  const queueOf = (model: string) => {
    const open = queues.get(model) ?? openQueue(redis, prefix, inferenceQueue(model), onError);
    queues.set(model, open);
    return open;
  };
  return {
    async add(model, id, priority) {
      await queueOf(model).add('job', null, {
        ...INFERENCE_OPTIONS,
        jobId: id,
        priority: bullPriority(priority),
      });
    },
    async remove(model, id) {
      await queueOf(model).remove(id);
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}

/**
 * Bare BullMQ: one process adds jobs and processes them with an empty function, no HTTP, no model, no result.
 *
 * No system built on BullMQ can be faster than this; `inFlight` jobs are added and not yet processed at any time.
 */
import { type Job, Queue, Worker } from 'bullmq';
import { systemClock as clock } from '../../../shared/base/clock.js';
import { newId } from '../../../shared/contract/ids.js';
import { answerOrders } from '../measurer.js';
import { jsonImages } from './test-digits.js';

export interface QueueOrder {
  redisUrl: string;
  /** `row`: 784 numbers as JSON; `id`: a job id. */
  payload: 'row' | 'id';
  inFlight: number;
  seconds: number;
}

export interface QueueResult {
  jobs: number;
  seconds: number;
}

type Payload = number[] | string;

const images = jsonImages();

answerOrders(async ({ redisUrl, payload, inFlight, seconds }: QueueOrder): Promise<QueueResult> => {
  const connection = { url: redisUrl };
  const queue = new Queue<Payload>(payload, {
    connection,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  const waiting = new Map<string, () => void>();
  const finish = async (job: Job<Payload>) => waiting.get(job.name)?.();
  const worker = new Worker<Payload>(payload, finish, { connection, concurrency: inFlight });
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);

  const startedMs = clock.monotonic();
  const endMs = startedMs + seconds * 1000;
  let jobs = 0;
  async function client(): Promise<void> {
    while (clock.monotonic() < endMs) {
      const name = String(jobs++);
      const data = payload === 'id' ? newId('job', clock.now()) : (images[jobs % images.length] ?? []);
      const processed = new Promise<void>((resolve) => waiting.set(name, resolve));
      await queue.add(name, data);
      await processed;
      waiting.delete(name);
    }
  }
  try {
    await Promise.all(Array.from({ length: inFlight }, client));
    return { jobs, seconds: (clock.monotonic() - startedMs) / 1000 };
  } finally {
    await Promise.all([worker.close(), queue.close()]);
  }
});

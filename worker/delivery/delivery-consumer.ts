/**
 * The `webhooks` queue -> attempts: those that are tried again, and those there was no room for at once.
 *
 * An id is read as its record is now, attended to, and handed back to the queue with a delay if it is to come again.
 * Whoever dies with an id in hand, the queue gives it to somebody else.
 */
import { DelayedError, type Job, Worker } from 'bullmq';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import { WEBHOOKS_QUEUE, WORKER_OPTIONS } from '../../shared/queue/catalog.js';
import type { Redis } from '../../shared/redis/connect.js';
import type { Attempts } from './attempts.js';

/** Attempts at once; an attempt is waiting for the receiver, almost all of its time. */
const CONCURRENCY = 500;

export interface ConsumerDeps {
  redis: Redis;
  prefix: string;
  deliveries: Pick<Deliveries, 'get'>;
  attempts: Pick<Attempts, 'attend'>;
  onError: (kind: string, error: unknown) => void;
}

export function startConsumer(deps: ConsumerDeps): { close(): Promise<void> } {
  const { redis, prefix, deliveries, attempts, onError } = deps;

  async function consume(job: Job, token: string | undefined): Promise<void> {
    const delivery = await deliveries.get(String(job.id));
    // Gone or ended: an attempt whose end the queue was not told.
    if (delivery?.status !== 'pending') return;
    const dueAt = await attempts.attend(delivery);
    if (dueAt === null) return;
    await job.moveToDelayed(Math.ceil(dueAt), token);
    throw new DelayedError();
  }

  const worker = new Worker(WEBHOOKS_QUEUE, consume, {
    ...WORKER_OPTIONS,
    connection: redis,
    prefix,
    concurrency: CONCURRENCY,
  });
  worker.on('error', (error) => onError('webhooks queue', error));
  worker.on('failed', (_, error) => onError('delivery', error));

  return { close: () => worker.close() };
}

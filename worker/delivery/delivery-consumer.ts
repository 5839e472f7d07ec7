/**
 * Takes ids of deliveries from the `webhooks` queue of BullMQ and has the dispatcher attempt them.
 *
 * The record is read when BullMQ hands out the id. If another attempt is to follow, the id goes back with a delay. If this
 * process dies meanwhile, BullMQ gives the id to another.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import { DelayedError, type Job } from '../../shared/queue/bullmq.js';
import { WEBHOOKS_QUEUE } from '../../shared/queue/catalog.js';
import { type Consumer, startConsumer } from '../../shared/queue/consumer.js';
import type { Redis } from '../../shared/redis/connect.js';
import type { Dispatcher } from './dispatcher.js';

/** Attempts at once. The number is high, because an attempt mostly waits for the receiver. */
const CONCURRENCY = 500;

export interface DeliveryConsumerDeps {
  redis: Redis;
  prefix: string;
  deliveries: Pick<Deliveries, 'get'>;
  dispatcher: Pick<Dispatcher, 'consume'>;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

/** Starts to consume; `close` resolves when no delivery that came from BullMQ is under way. */
export function startDeliveryConsumer(deps: DeliveryConsumerDeps): Pick<Consumer, 'close'> {
  const { redis, prefix, deliveries, dispatcher, clock, onError } = deps;

  async function take(job: Job, token: string | undefined): Promise<void> {
    const delivery = await deliveries.get(String(job.id));
    // The process that recorded the last attempt died before it told BullMQ.
    if (delivery?.status !== 'pending') return;
    const dueAt = await dispatcher.consume(delivery);
    if (dueAt === null) return;
    await job.moveToDelayed(Math.ceil(dueAt), token);
    throw new DelayedError();
  }

  return startConsumer({
    redis,
    prefix,
    queue: WEBHOOKS_QUEUE,
    slots: CONCURRENCY,
    take,
    clock,
    onFault: (error) => onError('webhooks queue', error),
    onFailed: (error) => onError('delivery', error),
  });
}

/**
 * First attempts, which do not go through the queue: what comes of them when there is no room, or their process dies.
 */
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/delivery.js';
import { createFirstAttempts } from '../../worker/delivery/first.js';
import {
  type DeliveryBench,
  deliveryIdOf,
  eventually,
  openDeliveryBench,
} from '../support/delivery-bench.js';
import { answer } from '../support/receiver.js';

let bench: DeliveryBench;
beforeEach(async () => {
  bench = await openDeliveryBench(inject('redisUrl'));
});
afterEach(() => bench.close());

const deliveryOf = (nth: number): Delivery => ({
  id: `dlv_${nth}`,
  tenant: 'acme',
  endpoint: null,
  url: 'http://127.0.0.1:1/',
  type: 'job.succeeded',
  job: null,
  body: '{}',
  at: 0,
  status: 'pending',
  attempts: 0,
  nextAt: 0,
  once: null,
});

function open(attend: (delivery: Delivery) => Promise<number | null>) {
  return createFirstAttempts({
    enqueue: bench.enqueue,
    attempts: { attend },
    onError: (_, error) => void bench.errors.push(error),
  });
}

test('a success touches the queue not at all, what is to come again waits there for its time', async () => {
  const first = open(async ({ id }) => (id === 'dlv_1' ? null : systemClock.now() + 60_000));
  first.begin(deliveryOf(1));
  first.begin(deliveryOf(2));
  await first.close();
  expect((await bench.queue.getDelayed()).map(({ id }) => id)).toEqual(['dlv_2']);
  expect(await bench.queue.getJobCountByTypes()).toBe(1);
});

test('what there is no room for goes through the queue, and closing waits for what is under way', async () => {
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const attended: string[] = [];
  const first = open(async ({ id }) => {
    attended.push(id);
    await finished;
    return null;
  });
  for (let nth = 0; nth < 260; nth++) first.begin(deliveryOf(nth));
  await eventually(async () => expect(await bench.queue.getWaitingCount()).toBe(10));
  expect(attended).toHaveLength(250);
  let isClosed = false;
  const closing = first.close().then(() => {
    isClosed = true;
  });
  await bench.redis.ping();
  expect(isClosed).toBe(false);
  finish();
  await closing;
});

test('of a process that died with it, the agenda finds a delivery for the queue', async () => {
  const receiver = await bench.receive(answer(204));
  await bench.succeeded({ url: receiver.url });
  const [event] = await bench.outbox();
  const id = deliveryIdOf(event);
  const [made] = (await bench.fanOut.begin()(event as never)) ?? [];
  expect(made?.delivery).toEqual(await bench.deliveries.get(id));
  const dueMs =
    Number(await bench.redis.zscore(bench.keys.deliveryAgenda, id)) - Number(made?.delivery?.nextAt);
  expect(dueMs, 'longer than an attempt takes').toBeGreaterThan(15_000);
  await bench.redis.zadd(bench.keys.deliveryAgenda, 1, id);
  bench.recall();
  bench.consume();
  await receiver.has(1);
  await eventually(async () => expect(await bench.deliveries.get(id)).toMatchObject({ status: 'delivered' }));
});

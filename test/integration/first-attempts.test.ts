/**
 * First attempts and short delays do not go through BullMQ. These tests fill the process, and let it die.
 */
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { type Clock, systemClock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { createCircuitBreaker } from '../../worker/delivery/circuit-breaker.js';
import { createDispatcher, type Dispatcher } from '../../worker/delivery/dispatcher.js';
import {
  type DeliveryBench,
  deliveryIdOf,
  eventually,
  openDeliveryBench,
  SOON,
} from '../support/delivery-bench.js';
import { createManualClock } from '../support/manual-clock.js';
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

/** Returns a dispatcher that makes its attempts with `attempt`. */
function open(
  attempt: (delivery: Delivery) => Promise<number | null>,
  clock: Clock = systemClock,
): Dispatcher {
  const onError = (_: string, error: unknown) => void bench.errors.push(error);
  const breaker = createCircuitBreaker(clock, { slotsPerReceiver: 1, longestRestMs: 1000 });
  const { deliveries, enqueue } = bench;
  return createDispatcher({ attempts: { attempt }, breaker, deliveries, clock, enqueue, onError });
}

test('a delivery goes through BullMQ when there is no room, and closing waits for what is under way', async () => {
  let finish = () => {};
  const finished = new Promise<null>((resolve) => {
    finish = () => resolve(null);
  });
  const attempted: string[] = [];
  const dispatcher = open(({ id }) => {
    attempted.push(id);
    return finished;
  });
  for (let nth = 0; nth < 510; nth++) dispatcher.start(deliveryOf(nth));
  await eventually(async () => expect(await bench.queue.getWaitingCount()).toBe(10));
  expect(attempted).toHaveLength(500);
  let hasEnded = false;
  const ending = dispatcher.ended().then(() => {
    hasEnded = true;
  });
  await bench.redis.ping();
  expect(hasEnded).toBe(false);
  finish();
  await ending;
});

test('a delivery goes through BullMQ when it becomes due and there is no room', async () => {
  const clock = createManualClock();
  const never = new Promise<null>(() => {});
  const dispatcher = open(({ id }) => (id === 'dlv_0' ? Promise.resolve(clock.now() + 5000) : never), clock);
  dispatcher.start(deliveryOf(0));
  await clock.advance(0);
  for (let nth = 1; nth <= 500; nth++) dispatcher.start(deliveryOf(nth));
  await clock.advance(4999);
  expect(await bench.queue.getJobCountByTypes()).toBe(0);
  await clock.advance(1);
  await eventually(async () =>
    expect((await bench.queue.getWaiting()).map(({ id }) => id)).toEqual(['dlv_0']),
  );
});

test('a failed delivery waits without touching BullMQ, and another process finds it soon if its own stops', async () => {
  const receiver = await bench.receive(
    (response, nth) => void response.writeHead(nth === 1 ? 500 : 204).end(),
  );
  await bench.succeeded({ url: receiver.url });
  const id = deliveryIdOf((await bench.outbox())[0]);
  const stopped = await bench.deliver({ schedule: { ...SOON, delaysMs: [8000] } });
  await eventually(async () => expect(await bench.deliveries.get(id)).toMatchObject({ attempts: 1 }));
  expect(await bench.queue.getJobCountByTypes()).toBe(0);
  await stopped.close();
  expect(Number(await bench.redis.zscore(bench.keys.deliveryDueIndex, id))).toBeLessThanOrEqual(Date.now());
});

test('the due index finds the delivery of a process that died', async () => {
  const receiver = await bench.receive(answer(204));
  await bench.succeeded({ url: receiver.url });
  const [event] = await bench.outbox();
  const id = deliveryIdOf(event);
  const [made] = (await bench.fanOut.begin()(event as never)) ?? [];
  expect(made?.delivery).toEqual(await bench.deliveries.get(id));
  const dueMs =
    Number(await bench.redis.zscore(bench.keys.deliveryDueIndex, id)) - Number(made?.delivery?.nextAt);
  expect(dueMs, 'longer than an attempt takes').toBeGreaterThan(15_000);
  await bench.redis.zadd(bench.keys.deliveryDueIndex, 1, id);
  bench.requeue();
  bench.consume();
  await receiver.has(1);
  await eventually(async () => expect(await bench.deliveries.get(id)).toMatchObject({ status: 'delivered' }));
});

test('closing waits for a second attempt that is under way, and its response counts', async () => {
  let finish = () => {};
  const receiver = await bench.receive((response, nth) => {
    if (nth === 1) return response.writeHead(500).end();
    finish = () => void response.writeHead(204).end();
  });
  await bench.succeeded({ url: receiver.url });
  const id = deliveryIdOf((await bench.outbox())[0]);
  const role = await bench.deliver();
  await receiver.has(2);
  const closing = role.close();
  // The rest of the role has closed by then, and an attempt has three seconds.
  systemClock.after(1000, () => finish());
  await closing;
  expect(await bench.deliveries.get(id)).toMatchObject({ status: 'delivered', attempts: 2 });
});

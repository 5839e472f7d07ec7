/**
 * First attempts, which do not go through the queue: what comes of them when there is no room, or their process dies.
 */
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { createFirstAttempts } from '../../worker/delivery/first-attempt.js';
import {
  type DeliveryBench,
  deliveryIdOf,
  eventually,
  openDeliveryBench,
  SOON,
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

function open(begin: (delivery: Delivery) => Promise<void>) {
  const onError = (_: string, error: unknown) => void bench.errors.push(error);
  return createFirstAttempts({ enqueue: bench.enqueue, attempts: { begin }, onError });
}

test('what there is no room for goes through the queue, and closing waits for what is under way', async () => {
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const attended: string[] = [];
  const first = open(async ({ id }) => {
    attended.push(id);
    await finished;
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

test('a failure comes again after its pause without touching the queue, and soon elsewhere if its process stops', async () => {
  const receiver = await bench.receive(
    (response, nth) => void response.writeHead(nth === 1 ? 500 : 204).end(),
  );
  await bench.succeeded({ url: receiver.url });
  const id = deliveryIdOf((await bench.outbox())[0]);
  const stopped = await bench.deliver({ schedule: { ...SOON, delaysMs: [8000] } });
  await eventually(async () => expect(await bench.deliveries.get(id)).toMatchObject({ attempts: 1 }));
  expect(await bench.queue.getJobCountByTypes()).toBe(0);
  await stopped.close();
  expect(Number(await bench.redis.zscore(bench.keys.deliveryAgenda, id))).toBeLessThanOrEqual(Date.now());
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

test('closing waits for an attempt that came after a pause, whose answer counts', async () => {
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
  // Everything else of the role has closed by then; an attempt has three seconds.
  systemClock.after(1000, () => finish());
  await closing;
  expect(await bench.deliveries.get(id)).toMatchObject({ status: 'delivered', attempts: 2 });
});

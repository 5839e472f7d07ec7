/**
 * Relay and consumer lose, invent and hurry nothing, even when they take over from processes that died.
 */
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { type Clock, systemClock } from '../../shared/base/clock.js';
import type { DeliveryAttempt, DeliveryStatus } from '../../shared/contract/webhooks/delivery.js';
import type { OutboxEvent } from '../../shared/core/webhooks/outbox.js';
import { MESSAGE_OPTIONS } from '../../shared/queue/catalog.js';
import {
  type DeliveryBench,
  deliveryIdOf,
  eventually,
  openDeliveryBench,
} from '../support/delivery-bench.js';
import { answer } from '../support/receiver.js';

const NOWHERE = { url: 'http://127.0.0.1:1/' };
let bench: DeliveryBench;
beforeEach(async () => {
  bench = await openDeliveryBench(inject('redisUrl'));
});
afterEach(() => bench.close());

const outboxEmpties = () =>
  eventually(async () => {
    expect(await bench.redis.xlen(bench.keys.outbox)).toBe(0);
    expect((await bench.redis.xpending(bench.keys.outbox, 'relay'))[0]).toBe(0);
  });

/** Creates the delivery and queues it, like a relay that dies before it acknowledges the event. */
async function madeAndQueued(event: OutboxEvent | undefined): Promise<string> {
  const made = await bench.fanOut.begin()(event as OutboxEvent);
  const id = String(made?.[0]?.id);
  await bench.queue.add('delivery', null, { ...MESSAGE_OPTIONS, jobId: id });
  return id;
}

/** Records an attempt, like a consumer that dies before it tells the queue. */
async function attempted(id: string, attempt: DeliveryAttempt, status: DeliveryStatus, nextAt: number) {
  const delivery = await bench.deliveries.get(id);
  if (!delivery) throw new Error(`there is no ${id}`);
  await bench.deliveries.record(delivery, attempt, status, nextAt, Number.POSITIVE_INFINITY);
}

describe('the relay', () => {
  test('takes what a dead relay left, also when it died after the queue had it', async () => {
    await bench.succeeded(NOWHERE);
    await bench.succeeded(NOWHERE);
    const events = await bench.outbox();
    await bench.redis.xgroup('CREATE', bench.keys.outbox, 'relay', '0');
    await bench.redis.xreadgroup('GROUP', 'relay', 'dead', 'STREAMS', bench.keys.outbox, '>');
    await madeAndQueued(events[0]);

    await bench.relay(20);
    await outboxEmpties();
    const ids = (await bench.queue.getWaiting()).map(({ id }) => id);
    expect(ids.sort()).toEqual(events.map((event) => deliveryIdOf(event)).sort());
  });

  test('takes all that a dead relay left at once, however much it is', async () => {
    const { redis, keys } = bench;
    await Promise.all(Array.from({ length: 350 }, () => bench.succeeded(NOWHERE)));
    await redis.xgroup('CREATE', keys.outbox, 'relay', '0');
    await redis.xreadgroup('GROUP', 'relay', 'dead', 'STREAMS', keys.outbox, '>');
    const ids = (await redis.xrange(keys.outbox, '-', '+')).map(([id]) => id);
    await redis.xclaim(keys.outbox, 'relay', 'dead', 0, ...ids, 'IDLE', 60_000);
    await bench.relay();
    await outboxEmpties();
    expect(await bench.queue.getWaitingCount()).toBe(350);
  });

  test('does not send again what was delivered before the relay died', async () => {
    await bench.succeeded(NOWHERE);
    const [event] = await bench.outbox();
    const [made] = (await bench.fanOut.begin()(event as OutboxEvent)) ?? [];
    const attempt = { at: 0, status: 200, error: null, latencyMs: 1, responseBody: '' };
    await attempted(String(made?.id), attempt, 'delivered', 0);
    await bench.relay();
    await outboxEmpties();
    expect(await bench.queue.getJobCountByTypes()).toBe(0);
  });

  test('two relays make one delivery of each event, also while one is replaced', async () => {
    const specs = await Promise.all(Array.from({ length: 150 }, () => bench.succeeded(NOWHERE)));
    const first = await bench.relay();
    await bench.relay();
    await first.close();
    const later = await bench.succeeded(NOWHERE);
    await outboxEmpties();
    const ids = (await bench.queue.getWaiting(0, -1)).map(({ id }) => String(id));
    const told = await Promise.all(ids.map((id) => bench.redis.hget(bench.keys.delivery(id), 'job')));
    expect(told.sort()).toEqual([...specs, later].map(({ id }) => id).sort());
  });

  test('drops the event of a job that is no longer kept, and says so', async () => {
    const spec = await bench.succeeded(NOWHERE);
    await bench.redis.del(bench.keys.job(spec.id));
    await bench.relay();
    await outboxEmpties();
    expect(bench.errors.map(String)).toEqual([expect.stringContaining('no longer kept')]);
  });

  test('goes on after the stream and its group were lost', async () => {
    await bench.relay();
    await eventually(async () => expect(await bench.redis.exists(bench.keys.outbox)).toBe(1));
    await bench.redis.del(bench.keys.outbox);
    await bench.succeeded(NOWHERE);
    await outboxEmpties();
    expect(await bench.queue.getWaitingCount()).toBe(1);
  });
});

describe('the consumer', () => {
  test('makes no attempt before it is due, though the queue hands it out', async () => {
    const receiver = await bench.receive(answer(200));
    await bench.succeeded({ url: receiver.url });
    const id = await madeAndQueued((await bench.outbox())[0]);
    const attempt = { at: 0, status: 500, error: null, latencyMs: 1, responseBody: '' };
    await attempted(id, attempt, 'pending', systemClock.now() + 60_000);
    bench.consume();
    await eventually(async () => expect(await bench.queue.getDelayedCount()).toBe(1));
    expect((await bench.queue.getDelayed())[0]?.delay).toBeGreaterThan(50_000);
    expect(receiver.connections()).toBe(0);
  });

  test('closing cuts an attempt that hangs, which counts for nothing and is made again', async () => {
    const receiver = await bench.receive((response, nth) => nth > 1 && response.end());
    await bench.succeeded({ url: receiver.url });
    const id = await madeAndQueued((await bench.outbox())[0]);
    const fast: Clock = { ...systemClock, after: (ms, act) => systemClock.after(ms / 100, act) };
    const consumer = bench.consume(fast);
    await receiver.has(1);
    await consumer.close();
    expect(await bench.deliveries.get(id)).toMatchObject({ status: 'pending', attempts: 0 });
    bench.consume();
    await eventually(async () =>
      expect(await bench.deliveries.get(id)).toMatchObject({ status: 'delivered', attempts: 1 }),
    );
    expect(receiver.received.map(({ headers }) => headers['webhook-id'])).toEqual([id, id]);
  });
});

/**
 * The log of deliveries: which deliveries it keeps, how it finds them, and how it replays them.
 */
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import type { Endpoint } from '../../shared/contract/webhooks/endpoint.js';
import { createDeliveries } from '../../shared/core/webhooks/deliveries.js';
import {
  type DeliveryBench,
  deliveryIdOf,
  eventually,
  openDeliveryBench,
  SOON,
} from '../support/delivery-bench.js';
import { answer } from '../support/receiver.js';

const KEPT = 100;
/** The time of the events that tests invent. */
const start = Date.now() - 3_600_000;
let bench: DeliveryBench;
let endpoint: Endpoint;
/** The number of events that tests have invented, so that no two are the same. */
let attempts = 0;
beforeEach(async () => {
  bench = await openDeliveryBench(inject('redisUrl'), KEPT);
});
afterEach(() => bench.close());

async function register(url: string): Promise<Endpoint> {
  endpoint = (await bench.endpoints.create('acme', { url })).endpoint;
  return endpoint;
}

/** Creates a delivery as a relay does, for an event at the given time. */
async function made(event: string, at = Date.now()): Promise<string> {
  const { id } = await bench.deliveries.create({
    event,
    tenant: 'acme',
    to: endpoint,
    type: 'job.succeeded',
    job: null,
    body: '{}',
    at,
  });
  return id;
}

async function ended(id: string, status: Delivery['status'], code = status === 'delivered' ? 204 : 500) {
  const delivery = (await bench.deliveries.get(id)) as Delivery;
  const attempt = { at: ++attempts, status: code, error: null, latencyMs: 1, responseBody: '' };
  await bench.deliveries.record(delivery, attempt, status, 0, Number.POSITIVE_INFINITY);
}

const idsOf = ({ records }: { records: { id: string }[] }) => records.map(({ id }) => id);
const becomes = (id: string, status: string, attempts: number) =>
  eventually(async () => expect(await bench.deliveries.get(id)).toMatchObject({ status, attempts }));

describe('the log', () => {
  test('keeps every attempt, of the last all that was read of the answer', async () => {
    const receiver = await bench.receive(answer(500, {}, 'é'.repeat(20_000)));
    await register(receiver.url);
    await bench.deliver();
    await bench.succeeded(null);
    await receiver.has(3);
    await eventually(async () =>
      expect((await bench.log.list('acme', endpoint.id, { limit: 1 })).records[0]?.status).toBe('failed'),
    );
    const [delivery] = (await bench.log.list('acme', endpoint.id, { limit: 1 })).records;
    const attempts = await bench.deliveries.attemptsOf(delivery?.id ?? '');
    expect(attempts.map(({ status }) => status)).toEqual([500, 500, 500]);
    expect(attempts.map(({ responseBody }) => responseBody?.length)).toEqual([1024, 1024, 8192]);
    expect(attempts.every(({ latencyMs, at }) => latencyMs >= 0 && at > 0)).toBe(true);
  });

  test('is found by status, type and time, page by page, newest first', async () => {
    await register('http://127.0.0.1:1/');
    const ids: string[] = [];
    for (let i = 0; i < 7; i++) ids.push(await made(`evt_${i}`, start + i * 1000));
    await ended(ids[2] ?? '', 'failed');
    await ended(ids[5] ?? '', 'failed');
    const list = (filter: object) => bench.log.list('acme', endpoint.id, { limit: 100, ...filter });
    expect(idsOf(await list({}))).toEqual([...ids].reverse());
    expect(idsOf(await list({ status: 'failed' }))).toEqual([ids[5], ids[2]]);
    expect(idsOf(await list({ type: 'job.failed' }))).toEqual([]);
    expect(idsOf(await list({ from: start + 2000, to: start + 4000 }))).toEqual(ids.slice(2, 5).reverse());
    const first = await list({ limit: 3 });
    const second = await list({ limit: 3, cursor: first.nextCursor });
    const third = await list({ limit: 3, cursor: second.nextCursor });
    expect([first, second, third].flatMap(idsOf)).toEqual([...ids].reverse());
    expect(third.nextCursor).toBeNull();
    expect(await bench.log.list('other', endpoint.id, { limit: 9 })).toMatchObject({ records: [] });
    await expect(bench.deliveries.demand('other', ids[0] ?? '')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('forgets the oldest that have ended when it is full, and drops what is new when all are pending', async () => {
    await register('http://127.0.0.1:1/');
    const ids: string[] = [];
    for (let i = 0; i < KEPT; i++) ids.push(await made(`evt_${i}`, start + i));
    await ended(ids[3] ?? '', 'delivered');
    const next = await made('evt_next');
    expect(await bench.deliveries.get(ids[3] ?? '')).toBeNull();
    expect(await bench.deliveries.get(next)).toMatchObject({ status: 'pending' });
    const over = await made('evt_over');
    expect(await bench.deliveries.get(over)).toBeNull();
    expect((await bench.endpoints.find(endpoint.id))?.dropped).toBe(1);
    expect(await bench.redis.zcard(bench.keys.deliveryLog('acme', endpoint.id))).toBe(KEPT);
  });

  test('forgets what has ended, however many of the oldest are pending', async () => {
    await register('http://127.0.0.1:1/');
    const ids: string[] = [];
    for (let i = 0; i < KEPT; i++) ids.push(await made(`evt_${i}`, start + i));
    const [oldest = '', newer = ''] = ids.slice(50);
    await ended(oldest, 'failed');
    await ended(newer, 'delivered');
    await bench.deliveries.replay(oldest);
    expect(await bench.deliveries.get(await made('evt_next'))).toMatchObject({ status: 'pending' });
    expect(await bench.deliveries.get(newer)).toBeNull();
    expect(await bench.deliveries.get(await made('evt_over'))).toBeNull();
    await ended(oldest, 'failed');
    expect(await bench.deliveries.get(await made('evt_after'))).toMatchObject({ status: 'pending' });
    expect(await bench.deliveries.get(oldest)).toBeNull();
    expect((await bench.endpoints.find(endpoint.id))?.dropped).toBe(1);
  });

  test('shrinks to a bound that was lowered, and drops nothing meanwhile', async () => {
    await register('http://127.0.0.1:1/');
    for (let i = 0; i < KEPT; i++) await ended(await made(`evt_${i}`, start + i), 'delivered');
    const { redis, keys } = bench;
    const lowered = createDeliveries({ redis, keys, clock: systemClock, maxKept: 10 });
    for (let i = 0; i < 3; i++) {
      const event = { event: `evt_late_${i}`, tenant: 'acme', to: endpoint, job: null, body: '{}' };
      const { status } = await lowered.create({ ...event, type: 'job.succeeded', at: Date.now() });
      expect(status).toBe('pending');
    }
    expect(await redis.zcard(keys.deliveryLog('acme', endpoint.id))).toBe(10);
  });

  test('has room for test events when it is full, and says when it has not', async () => {
    await register('http://127.0.0.1:1/');
    for (let i = 0; i < KEPT; i++) await made(`evt_${i}`, start + i);
    const test = (nth: number) => bench.fanOut.test(endpoint, `evt_test_${nth}`, Date.now());
    for (let nth = 0; nth < 100; nth++) await test(nth);
    await expect(test(100)).rejects.toMatchObject({ code: 'too_many_deliveries' });
  });

  test('goes with its endpoint', async () => {
    await register('http://127.0.0.1:1/');
    const ids = [await made('evt_1'), await made('evt_2')];
    await ended(ids[0] ?? '', 'delivered');
    await bench.endpoints.remove('acme', endpoint.id);
    await bench.log.forget('acme', endpoint.id);
    const left = [];
    for await (const keys of bench.redis.scanStream({ match: `${bench.keys.delivery('')}*` }))
      left.push(...keys);
    expect(left).toEqual([]);
    expect(await bench.redis.exists(bench.keys.endedDeliveries('acme', endpoint.id))).toBe(0);
    expect(await bench.deliveries.pending()).toBe(0);
  });

  test('forgets what an endpoint was to be told that went meanwhile', async () => {
    await register('http://127.0.0.1:1/');
    const id = await made('evt_1');
    await bench.endpoints.remove('acme', endpoint.id);
    await bench.deliver();
    await bench.deliveries.replay(id);
    await eventually(async () => expect(await bench.deliveries.get(id)).toBeNull());
  });
});

describe('a replay', () => {
  test('is one more attempt under the same id, and a failed one leaves what was', async () => {
    let status = 500;
    const receiver = await bench.receive((response) => void response.writeHead(status).end());
    await register(receiver.url);
    const id = await made('evt_1');
    await bench.deliver();
    await bench.deliveries.replay(id);
    await becomes(id, 'failed', 3);
    await bench.deliveries.replay(id);
    await becomes(id, 'failed', 4);
    status = 204;
    await bench.deliveries.replay(id);
    await becomes(id, 'delivered', 5);
    status = 500;
    await bench.deliveries.replay(id);
    await becomes(id, 'delivered', 6);
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([id]));
    expect(receiver.received).toHaveLength(6);
  });

  test('brings forward what waits for its next attempt', async () => {
    const receiver = await bench.receive(
      (response, nth) => void response.writeHead(nth === 1 ? 500 : 204).end(),
    );
    await register(receiver.url);
    await bench.deliver({ schedule: { ...SOON, delaysMs: [3_600_000] } });
    const id = await made('evt_1');
    await bench.deliveries.replay(id);
    await becomes(id, 'pending', 1);
    await eventually(async () => expect(await bench.queue.getDelayedCount()).toBe(1));
    await bench.deliveries.replay(id);
    await becomes(id, 'delivered', 2);
  });

  test('does not wait for all that is overdue', async () => {
    await register('http://127.0.0.1:1/');
    const { redis, keys, deliveries } = bench;
    const overdue = Array.from({ length: 1000 }, (_, i) => [start, `dlv_${i}`]);
    await redis.zadd(keys.deliveryDueIndex, ...overdue.flat());
    const id = await made('evt_asked');
    await deliveries.replay(id);
    expect(await deliveries.overdue()).toContain(id);
  });

  test('of a range tells all that failed since a time, once each', async () => {
    const receiver = await bench.receive(answer(204));
    await register(receiver.url);
    const ids: string[] = [];
    for (let i = 0; i < 30; i++) ids.push(await made(`evt_${i}`, start + i));
    for (const id of ids) await ended(id, id === ids[29] ? 'delivered' : 'failed');
    const outcome = await bench.log.replayAll('acme', endpoint.id, {
      status: 'failed',
      from: start + 10,
    });
    expect(outcome).toEqual({ replayed: 19, nextCursor: null });
    await bench.deliver();
    await receiver.has(19);
    await becomes(ids[28] ?? '', 'delivered', 2);
    expect(receiver.received.map(({ headers }) => headers['webhook-id']).sort()).toEqual(
      ids.slice(10, 29).sort(),
    );
    expect(await bench.deliveries.get(ids[9] ?? '')).toMatchObject({ status: 'failed', attempts: 1 });
  });
});

describe('a replay that is asked for during an attempt', () => {
  test.each([
    ['pending', 500, 'pending', 2],
    ['failed', 410, 'failed', 2],
    ['delivered', 204, 'delivered', 1],
  ])('that leaves it %s', async (_, code, status, attempts) => {
    let answerFirst = () => {};
    const receiver = await bench.receive((response, nth) => {
      const answer = () => void response.writeHead(code).end();
      if (nth === 1) answerFirst = answer;
      else answer();
    });
    // The test uses a job's own webhook, because 410 would disable an endpoint, and the second attempt would be held.
    await bench.succeeded({ url: receiver.url });
    const [event] = await bench.outbox();
    const id = deliveryIdOf(event);
    await bench.deliver({ schedule: { ...SOON, delaysMs: [3_600_000, 3_600_000] } });
    await receiver.has(1);
    await bench.deliveries.replay(id);
    answerFirst();
    await becomes(id, status, attempts);
    expect(receiver.received).toHaveLength(attempts);
  });
});

describe('what the queue has lost', () => {
  test('is found again by the records', async () => {
    const receiver = await bench.receive(answer(204));
    await register(receiver.url);
    const id = await made('evt_1');
    await bench.redis.zadd(bench.keys.deliveryDueIndex, 1, id);
    await bench.deliver();
    await becomes(id, 'delivered', 1);
    expect(receiver.received).toHaveLength(1);
    expect(await bench.deliveries.pending()).toBe(0);
  });

  test('is not looked for while the queue holds it back on purpose', async () => {
    await register('http://127.0.0.1:1/');
    const id = await made('evt_1');
    await bench.deliveries.postpone(id, Date.now() + 60_000);
    expect(await bench.deliveries.overdue()).toEqual([]);
  });
});

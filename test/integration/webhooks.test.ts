/**
 * From the end of a job to its receiver, on a real Redis and real sockets.
 */
import { Registry } from 'prom-client';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { type Clock, systemClock } from '../../shared/base/clock.js';
import { newId } from '../../shared/base/ids.js';
import { openRedis, type Redis } from '../../shared/base/redis.js';
import { createLogger } from '../../shared/base/telemetry.js';
import { createAddressRules } from '../../shared/contract/address.js';
import type { JobSpec } from '../../shared/contract/job.js';
import { packInstances, toBytes } from '../../shared/contract/tensor.js';
import { createJobs, type Jobs } from '../../shared/core/jobs.js';
import { createKeys, type Keys } from '../../shared/core/keys.js';
import { createWebhooks, type OutboxEvent, type Webhooks } from '../../shared/core/webhooks.js';
import { WEBHOOK_OPTIONS, WEBHOOKS_QUEUE } from '../../shared/queue/catalog.js';
import { openQueue } from '../../shared/queue/queues.js';
import { startConsumer } from '../../worker/delivery/consumer.js';
import { createDeliveryMetrics } from '../../worker/delivery/metrics.js';
import { startRelay } from '../../worker/delivery/relay.js';
import { createDeliveryRole } from '../../worker/delivery/role.js';
import type { Schedule } from '../../worker/delivery/schedule.js';
import { createSender } from '../../worker/delivery/send.js';
import { answer, openReceiver, type Receiver, type Respond } from '../support/receiver.js';

const ALLOWED = '127.0.0.0/8';
const SOON: Schedule = { delaysMs: [20, 20], random: () => 0.5 };
const ROWS = packInstances([
  { y: { dtype: 'float32', shape: [2], data: toBytes(new Float32Array([0.5, 1])) } },
  {},
]);

let prefix: string;
let keys: Keys;
let redis: Redis;
let jobs: Jobs;
let webhooks: Webhooks;
let closers: (() => unknown)[];

const onError = (kind: string, error: unknown) => console.error(kind, error);
const failed = (error: Error) => onError('connection', error);
const open = (purpose: 'work' | 'listen') => openRedis(inject('redisUrl'), purpose, failed);

async function opened(purpose: 'work' | 'listen'): Promise<Redis> {
  const connection = await open(purpose);
  closers.push(() => connection.disconnect());
  return connection;
}

beforeEach(async () => {
  closers = [];
  prefix = `{t-${newId('req', systemClock.now()).slice(-12)}}`;
  keys = createKeys(prefix);
  redis = await opened('work');
  closers.push(removeKeys);
  jobs = createJobs({
    redis,
    keys,
    transport: { add: async () => {}, remove: async () => {} },
    clock: systemClock,
    limits: { maxQueuedPerTenant: 1000, maxQueuedPerModel: 1000, retentionSeconds: 60 },
  });
  webhooks = createWebhooks({ redis, keys, clock: systemClock, rules: createAddressRules([ALLOWED]) });
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
});

async function removeKeys(): Promise<void> {
  for await (const page of redis.scanStream({ match: `${prefix}:*`, count: 1000 }))
    if (page.length > 0) await redis.unlink(page);
}

function submitted(webhook: JobSpec['webhook'], tenant = 'acme'): Promise<JobSpec> {
  const spec: JobSpec = {
    id: newId('job', systemClock.now()),
    ...{
      tenant,
      model: 'm',
      version: 1,
      alias: null,
      priority: 'standard',
      instances: 2,
      timeoutSeconds: 60,
    },
    ...{ allowPartial: true, metadata: { order: '42' }, webhook, retryOf: null },
  };
  return jobs.submit({ spec, ttlSeconds: 60, input: ROWS }).then(() => spec);
}

/** A job that has succeeded, its event in the outbox. */
async function succeeded(webhook: JobSpec['webhook'], tenant?: string): Promise<JobSpec> {
  const spec = await submitted(webhook, tenant);
  const started = await jobs.start('m', spec.id, ',1,');
  if (!('token' in started)) throw new Error(started.skipped);
  await jobs.settle(spec, started.token, { error: null, usageMs: 1, timings: null }, ROWS);
  return spec;
}

async function receive(respond: Respond): Promise<Receiver> {
  const receiver = await openReceiver(respond);
  closers.push(receiver.close);
  return receiver;
}

async function deliver(schedule = SOON, allowed = ALLOWED): Promise<Registry> {
  const registry = new Registry();
  const role = await createDeliveryRole({
    config: { SLUICE_KEY_PREFIX: prefix, SLUICE_WEBHOOK_ALLOW_PRIVATE: allowed },
    ...{
      version: '0',
      open: (purpose) => openRedis(inject('redisUrl'), purpose, failed),
      registry,
      schedule,
    },
    log: createLogger('test', 'silent'),
    clock: systemClock,
  });
  closers.push(role.close);
  return registry;
}

function openWebhooksQueue() {
  const queue = openQueue(redis, prefix, WEBHOOKS_QUEUE, failed);
  closers.push(() => queue.close());
  return queue;
}

async function relay(reclaimMs?: number) {
  const deps = { redis, listen: await opened('listen'), keys, queue: openWebhooksQueue(), webhooks };
  const started = startRelay({ ...deps, clock: systemClock, onError, ...(reclaimMs ? { reclaimMs } : {}) });
  closers.push(started.close);
  return started;
}

function consume(clock: Clock) {
  const sender = createSender({ clock, rules: createAddressRules([ALLOWED]), version: '0', timeoutMs: 1e7 });
  const metrics = createDeliveryMetrics(new Registry());
  const consumer = startConsumer({
    redis,
    prefix,
    webhooks,
    sender,
    clock,
    schedule: SOON,
    metrics,
    onError,
  });
  closers.push(sender.close);
  return consumer;
}

async function outbox(): Promise<OutboxEvent[]> {
  const entries = await redis.xrange(keys.outbox, '-', '+');
  return entries.map(([, fields]) => {
    const [, id = '', , type = '', , job = '', , at = ''] = fields;
    return { id, type: type as OutboxEvent['type'], job, at: Number(at) };
  });
}

const idOf = (event: OutboxEvent | undefined) => String(event?.id.replace('evt_', 'dlv_'));
const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 8000, interval: 10 });
const endsAs = (id: string, state: string, attempts: number) =>
  eventually(async () => expect(await webhooks.getDelivery(id)).toMatchObject({ state, attempts }));

describe('a delivery', () => {
  test('reaches its receiver signed, again after a failure, with the same id and body', async () => {
    const receiver = await receive(
      (response, nth) => void response.writeHead(nth === 1 ? 500 : 200).end('x'),
    );
    const spec = await succeeded({ url: receiver.url, includePredictions: true });
    const id = idOf((await outbox())[0]);
    const registry = await deliver();
    await receiver.has(2);
    await endsAs(id, 'delivered', 2);

    const verifier = new Webhook(await webhooks.signingSecret('acme'));
    for (const { body, headers } of receiver.received) {
      expect(headers['webhook-id']).toBe(id);
      const told = verifier.verify(body, headers) as { type: string; timestamp: string; data: object };
      expect(told.type).toBe('job.succeeded');
      expect(told.timestamp).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      const metadata = { order: '42' };
      expect(told.data).toMatchObject({
        id: spec.id,
        status: 'succeeded',
        metadata,
        predictions: [[0.5, 1], null],
      });
    }
    expect(receiver.received[1]?.body).toBe(receiver.received[0]?.body);
    await eventually(async () => expect(await outbox()).toEqual([]));
    const metrics = await registry.metrics();
    expect(metrics).toContain('sluice_webhook_attempts_total{outcome="retried"} 1');
    expect(metrics).toContain('sluice_webhook_attempts_total{outcome="delivered"} 1');
    expect(metrics).toContain('sluice_webhook_delivery_seconds_count 1');
  });

  test('is thin unless asked otherwise, and tells only what was subscribed to', async () => {
    const receiver = await receive(answer(204));
    await succeeded({ url: receiver.url, events: ['job.failed'] });
    const canceled = await submitted({ url: receiver.url });
    await jobs.cancel('acme', canceled.id);
    await succeeded({ url: receiver.url });
    expect(await outbox()).toHaveLength(2);
    await deliver();
    await receiver.has(2);
    const told = receiver.received.map(({ body }) => JSON.parse(body));
    expect(told.map(({ type }) => type).sort()).toEqual(['job.canceled', 'job.succeeded']);
    for (const { data } of told) expect(data).not.toHaveProperty('predictions');
  });

  test.each([
    ['410 ends it', answer(410), 1],
    ['a redirect is a failure, until the schedule runs out', answer(307, { location: '/' }), 3],
  ])('%s', async (_, respond, attempts) => {
    const receiver = await receive(respond);
    await succeeded({ url: receiver.url });
    const id = idOf((await outbox())[0]);
    await deliver();
    await endsAs(id, 'failed', attempts);
    expect(receiver.received).toHaveLength(attempts);
    expect(await openWebhooksQueue().getJobCountByTypes()).toBe(0);
  });

  test('does not go where the operator does not allow it', async () => {
    const trap = await receive(answer(200));
    await succeeded({ url: trap.url });
    const id = idOf((await outbox())[0]);
    await deliver(SOON, '');
    await endsAs(id, 'failed', 3);
    const last = JSON.parse((await redis.hget(keys.delivery(id), 'lastAttempt')) ?? '');
    expect(last).toMatchObject({ status: null, error: 'the host has an address that may not be called' });
    expect(trap.connections()).toBe(0);
  });
});

describe('the relay', () => {
  test('takes what a dead relay left, also when it died after the queue had it', async () => {
    const specs = [
      await succeeded({ url: 'http://127.0.0.1:1/' }),
      await succeeded({ url: 'http://127.0.0.1:1/' }),
    ];
    const events = await outbox();
    await redis.xgroup('CREATE', keys.outbox, 'relay', '0');
    await redis.xreadgroup('GROUP', 'relay', 'dead', 'STREAMS', keys.outbox, '>');
    const done = await webhooks.createDelivery(events[0] as OutboxEvent);
    const queue = openWebhooksQueue();
    await queue.add('delivery', null, { ...WEBHOOK_OPTIONS, jobId: done?.id ?? '' });

    await relay(20);
    await eventually(async () => expect(await redis.xlen(keys.outbox)).toBe(0));
    const ids = (await queue.getWaiting()).map(({ id }) => id);
    expect(ids.sort()).toEqual(events.map(idOf).sort());
    expect(specs).toHaveLength(ids.length);
  });

  test('does not send again what was delivered before the relay died', async () => {
    await succeeded({ url: 'http://127.0.0.1:1/' });
    const [event] = await outbox();
    const made = await webhooks.createDelivery(event as OutboxEvent);
    const attempt = { at: 0, status: 200, error: null, latencyMs: 1, responseBody: '' };
    await webhooks.recordAttempt(made?.id ?? '', attempt, 'delivered', 0);
    await relay();
    await eventually(async () => expect(await redis.xlen(keys.outbox)).toBe(0));
    expect(await openWebhooksQueue().getJobCountByTypes()).toBe(0);
  });

  test('two relays make one delivery of each event, also while one is replaced', async () => {
    const specs = await Promise.all(
      Array.from({ length: 150 }, () => succeeded({ url: 'http://127.0.0.1:1/' })),
    );
    const first = await relay();
    await relay();
    await first.close();
    const later = await succeeded({ url: 'http://127.0.0.1:1/' });
    await eventually(async () => expect(await redis.xlen(keys.outbox)).toBe(0));
    const ids = (await openWebhooksQueue().getWaiting(0, -1)).map(({ id }) => String(id));
    const told = await Promise.all(ids.map((id) => redis.hget(keys.delivery(id), 'job')));
    expect(told.sort()).toEqual([...specs, later].map(({ id }) => id).sort());
    expect(await redis.xpending(keys.outbox, 'relay')).toMatchObject([0]);
  });

  test('drops the event of a job that is no longer kept', async () => {
    const spec = await succeeded({ url: 'http://127.0.0.1:1/' });
    await redis.del(keys.job(spec.id));
    const quiet = vi.spyOn(console, 'error').mockImplementation(() => {});
    await relay();
    await eventually(async () => expect(await redis.xlen(keys.outbox)).toBe(0));
    expect(quiet).toHaveBeenCalledOnce();
    quiet.mockRestore();
  });
});

describe('the consumer', () => {
  /** A pending delivery whose id is in the queue. */
  async function queued(url: string): Promise<string> {
    await succeeded({ url });
    const made = await webhooks.createDelivery((await outbox()).at(-1) as OutboxEvent);
    await openWebhooksQueue().add('delivery', null, { ...WEBHOOK_OPTIONS, jobId: made?.id ?? '' });
    return made?.id ?? '';
  }

  test('makes no attempt before it is due, though the queue hands it out', async () => {
    const receiver = await receive(answer(200));
    const id = await queued(receiver.url);
    const attempt = { at: 0, status: 500, error: null, latencyMs: 1, responseBody: '' };
    await webhooks.recordAttempt(id, attempt, 'pending', systemClock.now() + 60_000);
    const consumer = consume(systemClock);
    const queue = openWebhooksQueue();
    await eventually(async () => expect(await queue.getDelayedCount()).toBe(1));
    await consumer.close();
    expect(receiver.connections()).toBe(0);
    expect((await queue.getDelayed())[0]?.delay).toBeGreaterThan(50_000);
  });

  test('closing cuts an attempt that hangs, which counts for nothing and is made again', async () => {
    const receiver = await receive((response, nth) => nth > 1 && response.end());
    const id = await queued(receiver.url);
    const fast: Clock = { ...systemClock, after: (ms, act) => systemClock.after(ms / 100, act) };
    const consumer = consume(fast);
    await receiver.has(1);
    await consumer.close();
    expect(await webhooks.getDelivery(id)).toMatchObject({ state: 'pending', attempts: 0 });
    const next = consume(systemClock);
    await endsAs(id, 'delivered', 1);
    await next.close();
    expect(receiver.received.map(({ headers }) => headers['webhook-id'])).toEqual([id, id]);
  });
});

test('a tenant has one signing secret, whoever asks first', async () => {
  const asked = await Promise.all(Array.from({ length: 20 }, () => webhooks.signingSecret('acme')));
  expect(new Set(asked).size).toBe(1);
  expect(asked[0]).toMatch(/^whsec_/);
  expect(await webhooks.signingSecret('other')).not.toBe(asked[0]);
});

test('registration refuses a URL with the place of the fault', () => {
  expect(() => webhooks.checkUrl('http://127.0.0.1:9/')).not.toThrow();
  expect(() => webhooks.checkUrl('http://10.0.0.1/')).toThrow(
    expect.objectContaining({
      code: 'url_not_allowed',
      faults: [expect.objectContaining({ path: '/webhook/url' })],
    }),
  );
});

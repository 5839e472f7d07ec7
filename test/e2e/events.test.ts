/**
 * Event streams: a job followed to its end, by callers that come late, leave early, resume elsewhere, or are many.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { addedKey } from '../support/added-key.js';
import { type EventReader, readEvents } from '../support/event-reader.js';
import { BOTH_MODELS, ROOT, type Stack, startStack } from '../support/stack.js';
import { startRedis, temporaryFolder } from '../support/started-redis.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const UNKNOWN = `job_${'0'.repeat(36)}`;
const PATIENCE = { timeout: 30_000 };
const WHOLE = ['status queued', 'status running', 'status succeeded', 'done'];

async function pictures(count: number, side: number): Promise<object> {
  const grey = { width: side, height: side, channels: 3, background: '#888888' } as const;
  const image = { b64: (await sharp({ create: grey }).png().toBuffer()).toString('base64') };
  return { model: 'upscale', instances: new Array(count).fill({ image }) };
}

function follow(stack: Stack, id: string, headers: Record<string, string> = {}): Promise<EventReader> {
  return readEvents(`${stack.url}/v1/jobs/${id}/events`, {
    authorization: `Bearer ${stack.key}`,
    ...headers,
  });
}

async function submit(stack: Stack, body: object = digit): Promise<string> {
  return (await stack.request('POST', '/v1/jobs', body)).body.id;
}

/** Without the progress, of which there is more or less. */
const statuses = (reader: EventReader) => reader.names().filter((name) => name !== 'progress');

describe('with a worker', () => {
  const MOST_STREAMS = 3;
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack(inject('redisUrl'), {
      ...BOTH_MODELS,
      SLUICE_MAX_STREAMS_PER_TENANT: String(MOST_STREAMS),
      SLUICE_MAX_ATTEMPTS: '2',
    });
    await stack.ready();
  });
  afterAll(() => stack.close());
  const pause = (model = 'mnist') => stack.request('POST', `/v1/queues/${model}/pause`);
  const resume = (model = 'mnist') => stack.request('POST', `/v1/queues/${model}/resume`);
  const show = async (id: string) => (await stack.request('GET', `/v1/jobs/${id}`)).body;

  it('a job is followed through its whole life', async () => {
    await pause();
    const { body } = await stack.request('POST', '/v1/jobs', digit);
    expect(body.links.events).toBe(`/v1/jobs/${body.id}/events`);
    const reader = await follow(stack, body.id);
    expect(reader.status).toBe(200);
    expect(reader.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
    });
    await expect.poll(reader.names).toEqual(['status queued']);
    expect(reader.text()).toMatch(/^retry: \d+\n\n/);
    await resume();
    await reader.closed;
    expect(reader.names()).toEqual(WHOLE);
    const job = await show(body.id);
    expect(reader.events.at(-1)?.data).toEqual(job);
    expect(job.predictions).toHaveLength(1);
    expect(reader.events.map(({ data }) => data.at)).toEqual([
      job.createdAt,
      job.startedAt,
      job.finishedAt,
      undefined,
    ]);
    expect(new Set(reader.events.map(({ id }) => id)).size).toBe(WHOLE.length);
  });

  it('a job that has ended is told at once, and after every id only what came after it', async () => {
    const { body } = await stack.request('POST', '/v1/jobs', digit, { prefer: 'wait=20' });
    const reader = await follow(stack, body.id);
    await reader.closed;
    expect(reader.names()).toEqual(['status succeeded', 'done']);
    const [status, done] = reader.events;
    const later = await follow(stack, body.id, { 'last-event-id': status?.id ?? '' });
    await later.closed;
    expect(later.names()).toEqual(['done']);
    const over = await follow(stack, body.id, { 'last-event-id': done?.id ?? '' });
    expect(over.status).toBe(204);
    const nonsense = await follow(stack, body.id, { 'last-event-id': 'nonsense' });
    await nonsense.closed;
    expect(nonsense.names()).toEqual(['status succeeded', 'done']);
    const head = await fetch(`${stack.url}/v1/jobs/${body.id}/events`, {
      method: 'HEAD',
      headers: { authorization: `Bearer ${stack.key}` },
    });
    expect(head.headers.get('content-type')).toBe('text/event-stream');
  });

  it('a job that does not exist or is of another tenant is the same 404', async () => {
    const id = await submit(stack);
    const stranger = await addedKey(inject('redisUrl'), stack.prefix, 'other', ['jobs:read']);
    const headers = { authorization: `Bearer ${stranger}` };
    for (const [path, more] of [
      [id, headers],
      [UNKNOWN, {}],
      ['nothing', {}],
    ] as const) {
      const answer = await stack.request('GET', `/v1/jobs/${path}/events`, undefined, more);
      expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
    }
    expect((await fetch(`${stack.url}/v1/jobs/${id}/events`)).status).toBe(401);
  });

  it('a tenant holds so many streams and no more; one that hangs up frees its place', async () => {
    await pause();
    const id = await submit(stack);
    const readers = await Promise.all(Array.from({ length: MOST_STREAMS }, () => follow(stack, id)));
    const refused = await stack.request('GET', `/v1/jobs/${id}/events`);
    expect(refused).toMatchObject({ status: 429, body: { code: 'too_many_streams', retryable: true } });
    expect(refused.headers.get('retry-after')).toBe('1');
    readers[0]?.hangUp();
    const statusOf = async () => {
      readers.push(await follow(stack, id));
      return readers.at(-1)?.status;
    };
    await expect.poll(statusOf).toBe(200);
    expect(await statusOf()).toBe(429);
    await resume();
    await Promise.all(readers.map(({ closed }) => closed));
    expect(readers.filter((reader) => reader.names().at(-1) === 'done')).toHaveLength(MOST_STREAMS);
    await expect.poll(statusOf).toBe(200);
  });

  it('a job of several slices tells how far it is', async () => {
    await pause('upscale');
    const id = await submit(stack, await pictures(20, 64));
    const reader = await follow(stack, id);
    await resume('upscale');
    await expect.poll(() => reader.names().includes('progress'), PATIENCE).toBe(true);
    const seen = await show(id);
    if (seen.status === 'running') expect(seen.progress).toEqual({ done: expect.any(Number), total: 20 });
    await reader.closed;
    expect(reader.names().at(-1)).toBe('done');
    const told = reader.events.filter(({ event }) => event === 'progress').map(({ data }) => data);
    const steps = told.map(({ done }) => done);
    expect(told.every(({ total }) => total === 20)).toBe(true);
    expect(steps.some((done) => done > 0)).toBe(true);
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
    expect(await show(id)).toMatchObject({ status: 'succeeded', progress: null });
  }, 60_000);

  it('an attempt that is retried is told: running, queued, running', async () => {
    await pause();
    // Large enough for the blob store, which then loses it.
    const id = await submit(stack, { ...digit, instances: new Array(32).fill(digit.instances[0]) });
    rmSync(join(stack.dataDir, 'blobs'), { recursive: true });
    const reader = await follow(stack, id);
    await resume();
    await reader.closed;
    const life = ['queued', 'running', 'queued', 'running', 'failed'].map((status) => `status ${status}`);
    expect(statuses(reader)).toEqual([...life, 'done']);
    expect(reader.events.at(-1)?.data).toMatchObject({ attempts: 2, error: { code: 'internal' } });
    // From the first event on, the record alone tells the same.
    const again = await follow(stack, id, { 'last-event-id': reader.events[0]?.id ?? '' });
    await again.closed;
    expect(statuses(again)).toEqual(statuses(reader).slice(1));
  }, 60_000);

  it('a restart of the API ends the streams; who resumes sees what came after', async () => {
    await pause();
    const id = await submit(stack);
    const reader = await follow(stack, id);
    await expect.poll(reader.names).toEqual(['status queued']);
    const [code] = await Promise.all([stack.restartApi(), reader.closed]);
    expect(code).toBe(0);
    await resume();
    const later = await follow(stack, id, { 'last-event-id': reader.lastId });
    await later.closed;
    expect([...reader.names(), ...later.names()]).toEqual(WHOLE);
  });
});

describe('with a Redis of its own and no worker', () => {
  const STREAMS = 200;
  const folder = temporaryFolder();
  const closers: (() => Promise<unknown>)[] = [];
  let redis: Redis;
  let stack: Stack;
  beforeAll(async () => {
    const server = await startRedis(folder.path);
    closers.push(() => server.stop());
    redis = await openRedis(server.url, 'work', () => undefined);
    closers.push(async () => redis.disconnect());
    stack = await startStack(server.url, {}, 0);
    closers.push(() => stack.close());
    await stack.apiReady();
  });
  afterAll(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    folder.remove();
  });
  let readers: EventReader[] = [];
  afterEach(() => {
    for (const reader of readers.splice(0)) reader.hangUp();
  });

  /** Commands that Redis has carried out, but those that look at Redis itself. */
  async function commands(): Promise<number> {
    const stats = await redis.info('commandstats');
    return [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
      .filter(([, name = '']) => !/^(info|client|ping|hello|time)/.test(name))
      .reduce((sum, [, , calls]) => sum + Number(calls), 0);
  }

  it('200 streams cost Redis no connection, and no command each when their job changes', async () => {
    const id = await submit(stack);
    const connections = async () => /^connected_clients:(\d+)/m.exec(await redis.info('clients'))?.[1];
    const connected = await connections();
    const opened = await commands();
    readers = await Promise.all(Array.from({ length: STREAMS }, () => follow(stack, id)));
    for (const reader of readers) await expect.poll(reader.names, PATIENCE).toEqual(['status queued']);
    const before = await commands();
    expect(before - opened).toBeLessThan(STREAMS * 2.5);
    expect(await connections()).toBe(connected);
    await stack.request('POST', `/v1/jobs/${id}/cancel`);
    await Promise.all(readers.map(({ closed }) => closed));
    for (const reader of readers) expect(reader.names().slice(1)).toEqual(['status canceled', 'done']);
    expect((await commands()) - before).toBeLessThan(STREAMS / 4);
  }, 60_000);

  it('what happened while the listening connection was away is told when it is back', async () => {
    const id = await submit(stack);
    readers = [await follow(stack, id)];
    await expect.poll(() => readers[0]?.names()).toEqual(['status queued']);
    await Promise.all([
      redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub'),
      stack.request('POST', `/v1/jobs/${id}/cancel`),
    ]);
    await readers[0]?.closed;
    expect(readers[0]?.names()).toEqual(['status queued', 'status canceled', 'done']);
  });
});

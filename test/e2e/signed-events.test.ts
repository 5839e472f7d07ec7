/**
 * Signed addresses of events, as a page opens them: an EventSource, which sends no API key.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EventSource } from 'undici';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { openRedis } from '../../shared/redis/connect.js';
import { addedKey } from '../support/added-key.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const UNKNOWN = `job_${'0'.repeat(36)}`;
const PAGE = 'https://app.example.com';
const PATIENCE = { timeout: 20_000 };

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_CORS_ORIGINS: PAGE, LOG_LEVEL: 'trace' });
  await stack.ready();
});
afterAll(() => stack.close());

const hold = (act: 'pause' | 'resume') => stack.request('POST', `/v1/queues/mnist/${act}`);
const sign = (id: string, body?: unknown, headers: Record<string, string> = {}) =>
  stack.request('POST', `/v1/jobs/${id}/events/sign`, body, headers);
/** Asks without an API key. */
const ask = (path: string, init: RequestInit = {}) => fetch(stack.url + path, init);
const codeOf = async (path: string) => ((await (await ask(path)).json()) as { code: string }).code;

const dataOf = (event: Event) => (event as unknown as { data: string }).data;

async function endedJob(): Promise<string> {
  return (await stack.request('POST', '/v1/jobs', digit, { prefer: 'wait=20' })).body.id;
}

it('an EventSource reads to the end, across a restart of the API, and then rests', async () => {
  await hold('pause');
  const { body: job } = await stack.request('POST', '/v1/jobs', digit);
  const { status, body, headers } = await sign(job.id);
  expect(status).toBe(201);
  expect(headers.get('cache-control')).toBe('no-store');
  expect(body).toEqual({ url: expect.any(String), expiresAt: expect.any(String) });
  const source = new EventSource(stack.url + body.url);
  const told: string[] = [];
  let opened = 0;
  let last = '';
  source.addEventListener('open', () => opened++);
  source.addEventListener('status', (event) => told.push(JSON.parse(dataOf(event)).status));
  source.addEventListener('done', (event) => {
    told.push('done');
    last = dataOf(event);
  });
  try {
    await expect.poll(() => told, PATIENCE).toEqual(['queued']);
    await stack.restartApi();
    await expect.poll(() => opened, PATIENCE).toBe(2);
    await hold('resume');
    await expect.poll(() => told, PATIENCE).toEqual(['queued', 'running', 'succeeded', 'done']);
    expect(JSON.parse(last)).toEqual((await stack.request('GET', `/v1/jobs/${job.id}`)).body);
    await expect.poll(() => source.readyState, PATIENCE).toBe(EventSource.CLOSED);
  } finally {
    source.close();
  }
  expect(stack.output()).not.toContain(new URLSearchParams(body.url.split('?')[1]).get('signature'));
}, 60_000);

it('an address lives for ten minutes unless told, and an hour at most', async () => {
  const id = await endedJob();
  const secondsOf = async (body?: unknown) => {
    const before = Date.now();
    const { body: made } = await sign(id, body);
    const after = Date.now();
    const expires = Date.parse(made.expiresAt);
    // The expiry is rounded up to a whole second.
    return [Math.ceil((expires - after) / 1000) - 1, Math.ceil((expires - before) / 1000)];
  };
  for (const [body, seconds] of [
    [undefined, 600],
    [{}, 600],
    [{ ttlSeconds: 1 }, 1],
    [{ ttlSeconds: 3600 }, 3600],
  ] as const) {
    const [least = 0, most = 0] = await secondsOf(body);
    expect(least).toBeLessThanOrEqual(seconds);
    expect(most).toBeGreaterThanOrEqual(seconds);
  }
  for (const ttlSeconds of [0, -1, 3601, 1.5, '60', null]) {
    const { status, body } = await sign(id, { ttlSeconds });
    expect({ ttlSeconds, status, code: body.code }).toEqual({
      ttlSeconds,
      status: 422,
      code: 'invalid_input',
    });
    expect(body.errors).toMatchObject([{ path: '/ttlSeconds' }]);
  }
  expect((await sign(id, { ttl: 60 })).body.code).toBe('unknown_field');
  expect((await sign(id, '{}', { 'content-type': 'text/plain' })).status).toBe(415);
});

it('an address is asked for with a key that may read jobs, of the tenant of the job', async () => {
  const id = await endedJob();
  const withKey = (key: string) => ({ authorization: `Bearer ${key}` });
  const keyOf = (tenant: string, scope: 'jobs:read' | 'jobs:write') =>
    addedKey(inject('redisUrl'), stack.prefix, tenant, [scope]);
  const writer = await sign(id, undefined, withKey(await keyOf('default', 'jobs:write')));
  expect(writer).toMatchObject({ status: 403, body: { code: 'insufficient_scope' } });
  const reader = await sign(id, undefined, withKey(await keyOf('default', 'jobs:read')));
  expect(reader.status).toBe(201);
  const stranger = await sign(id, undefined, withKey(await keyOf('other', 'jobs:read')));
  expect(stranger).toMatchObject({ status: 404, body: { code: 'not_found' } });
  expect(await sign(UNKNOWN)).toMatchObject({ status: 404, body: { code: 'not_found' } });
  expect(await sign('nothing')).toMatchObject({ status: 404, body: { code: 'not_found' } });
  expect(await sign(id, undefined, withKey('slk_none'))).toMatchObject({ status: 401 });
});

it('an address that is altered, of another job or for another method is refused', async () => {
  const [id, other] = [await endedJob(), await endedJob()];
  const { url } = (await sign(id)).body;
  const { url: strange } = (await sign(other)).body;
  expect((await ask(url)).status).toBe(200);
  expect(await codeOf(`/v1/jobs/${id}/events`)).toBe('unauthenticated');
  expect(await codeOf(url.replace(/&signature=.*/, ''))).toBe('unauthenticated');
  expect(await codeOf(url.replace('/events', ''))).toBe('unauthenticated');
  for (const wrong of [
    url.replace(id, other),
    url.replace(id, UNKNOWN),
    url.replace(id, 'nothing'),
    url.replace(/\?.*/, strange.replace(/.*\?/, '?')),
    url.replace(/expires=\d/, 'expires=9'),
    url.replace(/expires=\d+&/, ''),
    url.replace(/.$/, (last: string) => (last === 'A' ? 'Q' : 'A')),
    `${url}A`,
    `${url}&signature=x`,
  ])
    expect(await codeOf(wrong), wrong).toBe('not_found');
  for (const method of ['POST', 'PUT', 'DELETE']) {
    const answer = await ask(url, { method });
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('HEAD, GET');
  }
});

it('an address opens nothing once the job is of another tenant', async () => {
  const id = await endedJob();
  const { url } = (await sign(id)).body;
  const redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  const job = `${stack.prefix}:job:${id}`;
  const spec = JSON.parse((await redis.hget(job, 'spec')) ?? '');
  await redis.hset(job, 'spec', JSON.stringify({ ...spec, tenant: 'other' }));
  redis.disconnect();
  expect(await codeOf(url)).toBe('not_found');
});

it('an address opens nothing after its time, also for who resumes; the next one does', async () => {
  const id = await endedJob();
  const { url } = (await sign(id, { ttlSeconds: 1 })).body;
  const resumed = async () => (await ask(url, { headers: { 'last-event-id': '0-1-0-0' } })).status;
  await expect.poll(resumed, PATIENCE).toBe(410);
  expect(await codeOf(url)).toBe('link_expired');
  expect((await ask((await sign(id)).body.url)).status).toBe(200);
  // An EventSource gives up, and does not ask again.
  const source = new EventSource(stack.url + url);
  await expect.poll(() => source.readyState, PATIENCE).toBe(EventSource.CLOSED);
});

it('pages of listed origins may open the stream, ask for an address, and read why one is refused', async () => {
  const id = await endedJob();
  const signed = await sign(id, undefined, { origin: PAGE });
  expect(signed.headers.get('access-control-allow-origin')).toBe(PAGE);
  for (const [path, status] of [
    [signed.body.url, 200],
    [`${signed.body.url}A`, 404],
  ] as const) {
    const answer = await ask(path, { headers: { origin: PAGE } });
    expect({ status: answer.status, allowed: answer.headers.get('access-control-allow-origin') }).toEqual({
      status,
      allowed: PAGE,
    });
    const elsewhere = await ask(path, { headers: { origin: 'https://elsewhere.example.com' } });
    expect(elsewhere.headers.get('access-control-allow-origin')).toBeNull();
  }
});

/**
 * Many small jobs, and what is left of them in Redis once their retention is over.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, expect, it } from 'vitest';
import { IS_LONG } from '../support/long.js';
import { type OwnRedis, openOwnRedis } from '../support/own-redis.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';
import { figure } from './figures.js';
import { until } from './until.js';

const JOBS = IS_LONG ? 100_000 : 3000;
const WARM_UP = 500;
const BULK = 500;
/** Within this, the transport has come to rest. */
const REST_MS = 30_000;
const ROOM = 5000;
const LEFT_BYTES = 5 * 1024 ** 2;
const GONE_MS = 120_000;
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let server: OwnRedis;
let redis: Redis;
let stack: Stack;
afterEach(async () => {
  await stack?.close();
  redis?.disconnect();
  await server?.close();
});

it(`${JOBS} jobs leave no key behind, and no memory`, {
  timeout: IS_LONG ? 1_200_000 : 180_000,
}, async () => {
  server = await openOwnRedis();
  redis = new Redis(server.url);
  stack = await startStack(server.url, { SLUICE_RETENTION_SECONDS: '1', SLUICE_MODELS: 'mnist' });
  await stack.ready();
  await runJobs(WARM_UP);
  await allForgotten();
  // BullMQ's marker stands until a worker that waits for it has seen it.
  await until(
    'nobody is called',
    REST_MS,
    async () => !Object.keys(await kindsOfKeys()).some((kind) => kind.endsWith(':marker')),
  );
  const before = { keys: await kindsOfKeys(), bytes: await usedBytes() };

  await runJobs(JOBS);
  await allForgotten();
  const bytes = (await usedBytes()) - before.bytes;
  figure('G16', `bytes left in Redis by ${JOBS} jobs`, bytes, `${LEFT_BYTES}`);
  // Other keys of BullMQ come and go by a time of their own.
  await expect.poll(kindsOfKeys, { timeout: REST_MS }).toEqual(before.keys);
  expect(bytes).toBeLessThanOrEqual(LEFT_BYTES);
});

/** Returns how many jobs there are, those that have ended too. */
const kept = () => redis.zcard(`${stack.prefix}:agenda`);

/** Submits the jobs, and never has more than `ROOM` of them. */
async function runJobs(count: number): Promise<void> {
  for (let done = 0; done < count; done += BULK) {
    await until('there is room', GONE_MS, async () => (await kept()) < ROOM);
    const { status, body } = await stack.request('POST', '/v1/jobs/bulk', {
      jobs: Array.from({ length: BULK }, () => digit),
    });
    expect(status).toBeLessThan(300);
    expect(body.results.filter(({ error }: { error?: object }) => error)).toEqual([]);
  }
}

/** Waits until no job is left, and the worker holds no ticket of the queue any more. */
async function allForgotten(): Promise<void> {
  await until('all jobs are forgotten', GONE_MS, async () => (await kept()) === 0);
  const held = ['active', 'stalled'].map((list) => `${stack.prefix}:inference-mnist-1:${list}`);
  await until('the worker has left', GONE_MS, async () => (await redis.exists(...held)) === 0);
}

/** Returns how many keys there are of each kind. A worker is told of every ten seconds, and its tickets come and go. */
async function kindsOfKeys(): Promise<Record<string, number>> {
  const kinds: Record<string, number> = {};
  for (const key of await redis.keys('*')) {
    const kind = key.slice(stack.prefix.length + 1).replace(/[A-Za-z0-9]{20,}|(?<=:)\d+/g, '*');
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  return kinds;
}

/** Waits until Redis has freed what it frees in the background. */
async function usedBytes(): Promise<number> {
  const used = async () => Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
  let last = await used();
  await until('the memory is steady', 10_000, async () => {
    const now = await used();
    const isSteady = Math.abs(now - last) < 50_000;
    last = now;
    return isSteady;
  });
  return last;
}

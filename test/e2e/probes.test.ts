/**
 * Probes of the API and of a worker in each role: they answer where another machine reaches them, and until the process has ended.
 */
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type OwnRedis, openOwnRedis } from '../support/own-redis.js';
import { childrenOf, signal } from '../support/processes.js';
import { exited, freePort, type Stack, startStack } from '../support/stack.js';

const BOUND = { timeout: 20_000 };
const START = { timeout: 45_000 };
const ROLES = ['inference', 'delivery', 'batches', 'upkeep'];
/** By this address other machines reach this one. A machine without a network has loopback alone. */
const OUTSIDE =
  Object.values(networkInterfaces())
    .flat()
    .find((each) => each?.family === 'IPv4' && !each.internal)?.address ?? '127.0.0.1';

let redis: OwnRedis;
let stack: Stack;
const ports: Record<string, number> = {};
beforeAll(async () => {
  for (const name of ['api', ...ROLES]) ports[name] = await freePort();
  const env = { SLUICE_METRICS_HOST: '0.0.0.0', SLUICE_METRICS_PORT: String(ports.api) };
  redis = await openOwnRedis();
  stack = await startStack(redis.url, env, 0);
  for (const role of ROLES) stack.addWorker({ SLUICE_ROLES: role, SLUICE_METRICS_PORT: String(ports[role]) });
  await stack.ready();
});
afterAll(async () => {
  redis?.thaw();
  await stack?.close();
  await redis?.close();
});

async function statusOf(name: string, path: string): Promise<number | undefined> {
  const answer = await fetch(`http://${OUTSIDE}:${ports[name]}${path}`).catch(() => null);
  await answer?.body?.cancel();
  return answer?.status;
}

it.each(['api', ...ROLES])('%s says that it lives, is ready, and what it measures', async (name) => {
  await expect.poll(() => statusOf(name, '/readyz'), START).toBe(200);
  expect(await statusOf(name, '/livez')).toBe(200);
  expect(await statusOf(name, '/metrics')).toBe(200);
});

it('all say soon that Redis is away, and live', async () => {
  const names = ['api', ...ROLES];
  redis.freeze();
  try {
    for (const name of names) {
      const answer = await fetch(`http://${OUTSIDE}:${ports[name]}/readyz`);
      expect(answer.status, name).toBe(503);
      expect(await answer.text(), name).toContain('Redis');
      expect(await statusOf(name, '/livez')).toBe(200);
    }
  } finally {
    redis.thaw();
  }
  for (const name of names) await expect.poll(() => statusOf(name, '/readyz'), BOUND).toBe(200);
});

it('a worker that drains lives, is measured and is not ready', async () => {
  const worker = stack.workers[ROLES.indexOf('inference')];
  const computing = childrenOf(worker?.pid);
  for (const pid of computing) signal(pid, 'SIGSTOP');
  const instances = [new Array(784).fill(0)];
  const { id } = (await stack.request('POST', '/v1/jobs', { model: 'mnist', instances })).body;
  const status = async () => (await stack.request('GET', `/v1/jobs/${id}`)).body.status;
  await expect.poll(status, BOUND).toBe('running');
  worker?.kill('SIGTERM');
  await expect.poll(() => statusOf('inference', '/readyz'), BOUND).toBe(503);
  expect(await statusOf('inference', '/livez')).toBe(200);
  expect(await statusOf('inference', '/metrics')).toBe(200);
  for (const pid of computing) signal(pid, 'SIGCONT');
  expect(worker && (await exited(worker))).toBe(0);
  expect(await status()).toBe('succeeded');
});

/**
 * The process that computes, replaced while jobs come.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, inject, it } from 'vitest';
import { MAX_DEATHS } from '../../worker/inference/respawns.js';
import { childrenOf, signal } from '../support/processes.js';
import { freePort, ROOT, type Stack, startStack } from '../support/stack.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let stack: Stack;
afterEach(() => stack.close());

it.each([
  ['after so many batches', { SLUICE_CHILD_MAX_BATCHES: '3' }, 12, /"3 batches"/g, 3],
  ['above so much memory', { SLUICE_CHILD_MAX_RSS_BYTES: '1' }, 150, /bytes after 100 batches/g, 1],
])('is replaced %s, and no job notices', async (_, limit, jobs, told, times) => {
  const env = { SLUICE_BACKEND: 'wasm', SLUICE_MODELS: 'mnist', LOG_LEVEL: 'info', ...limit };
  stack = await startStack(inject('redisUrl'), env);
  await stack.ready();
  for (let i = 0; i < jobs; i++) {
    const { body } = await stack.request('POST', '/v1/jobs?wait=20', digit);
    expect(body).toMatchObject({ status: 'succeeded', attempts: 1 });
  }
  expect(stack.output().match(told)?.length).toBeGreaterThanOrEqual(times);
});

it('is one of two, both known and both with the version', async () => {
  const env = { SLUICE_BACKEND: 'wasm', SLUICE_MODELS: 'mnist', SLUICE_CHILDREN: '2' };
  stack = await startStack(inject('redisUrl'), env);
  await stack.ready();
  const instances = Array.from({ length: 512 }, () => digit.instances[0]);
  const { body } = await stack.request('POST', '/v1/jobs?wait=20', { ...digit, instances });
  expect(body.status).toBe('succeeded');
  const children = childrenOf(stack.workers[0]?.pid).sort();
  expect(children).toHaveLength(2);
  const devices = async () => (await stack.request('GET', '/v1/workers')).body.data[0]?.devices;
  await expect
    .poll(devices, { timeout: 20_000 })
    .toMatchObject(children.map(() => ({ backend: 'wasm', device: 'cpu', rssBytes: expect.any(Number) })));
  expect((await devices()).map(({ pid }: { pid: number }) => pid).sort()).toEqual(children);
});

it('makes its worker unready when it dies again and again, and is waited for', async () => {
  const port = await freePort();
  const env = { SLUICE_BACKEND: 'wasm', SLUICE_MODELS: 'mnist' };
  stack = await startStack(inject('redisUrl'), env, 0);
  const { pid } = stack.addWorker({ SLUICE_METRICS_PORT: String(port) });
  await stack.ready();
  const readyz = async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).text();
  // Its port is opened last.
  await expect.poll(() => readyz().catch(() => ''), { timeout: 10_000 }).toBe('ready\n');
  const child = () => childrenOf(pid)[0];
  let last: number | undefined;
  for (let kill = 0; kill <= MAX_DEATHS; kill++) {
    await expect.poll(() => ![undefined, last].includes(child()), { timeout: 10_000 }).toBe(true);
    last = child();
    signal(last, 'SIGKILL');
  }
  await expect.poll(readyz, { timeout: 10_000 }).toContain('dies again and again');
  const { body } = await stack.request('POST', '/v1/jobs?wait=50', digit);
  expect(body).toMatchObject({ status: 'succeeded', attempts: 1 });
  expect(await readyz()).toBe('ready\n');
});

it('is waited for by no job when another worker is there: what its worker had taken goes to that one', async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_BACKEND: 'wasm', SLUICE_MODELS: 'mnist' });
  const pid = stack.workers[0]?.pid;
  await stack.ready();
  const [first] = childrenOf(pid);
  signal(first, 'SIGSTOP');
  const ids = await Promise.all(
    Array.from({ length: 40 }, async () => (await stack.request('POST', '/v1/jobs', digit)).body.id),
  );
  const jobs = async (): Promise<{ status: string; attempts: number }[]> =>
    Promise.all(ids.map(async (id) => (await stack.request('GET', `/v1/jobs/${id}`)).body));
  const has = async (status: string) => (await jobs()).filter((job) => job.status === status).length;
  await expect.poll(() => has('running'), { timeout: 10_000 }).toBeGreaterThan(1);

  // Each before it is up, or it would compute.
  let last: number | undefined;
  for (let kill = 0; kill <= MAX_DEATHS; kill++) {
    const isAnother = () => ![undefined, last].includes(childrenOf(pid)[0]);
    await expect.poll(isAnother, { timeout: 10_000, interval: 5 }).toBe(true);
    last = childrenOf(pid)[0];
    signal(last, 'SIGKILL');
  }
  stack.addWorker();
  await expect.poll(() => has('succeeded'), { timeout: 20_000 }).toBe(ids.length);
  expect((await jobs()).every(({ attempts }) => attempts === 1)).toBe(true);
  expect(stack.output()).toContain('handing back what was taken');
});

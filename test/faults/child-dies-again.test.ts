/**
 * F2 again and again: the process that computes dies until it is not started at once any more, and no job pays for it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, inject, it } from 'vitest';
import { MAX_DEATHS } from '../../worker/process/crash-loop.js';
import { childrenOf, signal } from '../support/processes.js';
import { freePort, ROOT, type Stack, startStack } from '../support/stack.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let stack: Stack;
afterEach(() => stack.close());

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

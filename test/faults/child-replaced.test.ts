/**
 * The process that computes, replaced while jobs come.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, inject, it } from 'vitest';
import { childrenOf } from '../support/processes.js';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS: 'mnist', LOG_LEVEL: 'info' }, 0);
});
afterEach(async () => {
  for (const worker of stack.workers.splice(0)) {
    worker.kill('SIGTERM');
    await exited(worker);
  }
});
afterAll(() => stack.close());

it.each([
  ['after so many batches', { SLUICE_CHILD_MAX_BATCHES: '3' }, 12, /"3 batches"/g, 3],
  ['above so much memory', { SLUICE_CHILD_MAX_RSS_BYTES: '1' }, 150, /bytes after 100 batches/g, 1],
])('is replaced %s, and no job notices', async (_, limit, jobs, told, times) => {
  stack.addWorker(limit);
  await stack.ready();
  for (let i = 0; i < jobs; i++) {
    const { body } = await stack.request('POST', '/v1/jobs?wait=20', digit);
    expect(body).toMatchObject({ status: 'succeeded', attempts: 1 });
  }
  expect(stack.output().match(told)?.length).toBeGreaterThanOrEqual(times);
});

it('is one of two, both known and both with the version', async () => {
  stack.addWorker({ SLUICE_CHILDREN: '2' });
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

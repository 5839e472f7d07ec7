/** The list of workers: what they say of themselves, and how they leave it. */
import { hostname, totalmem } from 'node:os';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { exited, type Stack, startStack } from '../support/stack.js';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS: 'mnist', SLUICE_BACKEND: 'wasm' });
  stack.addWorker({ SLUICE_ROLES: 'delivery,upkeep' });
  await stack.ready();
});
afterAll(() => stack.close());

interface Listed {
  pid: number;
  roles: string[];
  devices: { pid: number; rssBytes: number | null }[];
}
const list = async (): Promise<Listed[]> => (await stack.request('GET', '/v1/workers')).body.data;
const pids = async () => (await list()).map(({ pid }) => pid).sort();

it('shows what each worker does, and where it computes', async () => {
  const [computing, other] = stack.workers.map(({ pid }) => pid);
  await expect.poll(pids, { timeout: 20_000 }).toEqual([computing, other].sort());
  const workers = await list();
  expect(workers.find(({ pid }) => pid === computing)).toMatchObject({
    id: expect.stringMatching(/^wrk_/),
    host: hostname(),
    roles: ['inference', 'delivery', 'batches', 'upkeep'],
    devices: [{ backend: 'wasm', device: 'cpu', pid: expect.any(Number), memoryBytes: totalmem() }],
    models: [{ model: 'mnist', version: 1, backend: 'wasm', loaded: true }],
  });
  expect(workers.find(({ pid }) => pid === other)).toMatchObject({
    roles: ['delivery', 'upkeep'],
    devices: [],
    models: [],
  });
  const child = workers.find(({ pid }) => pid === computing)?.devices[0]?.pid;
  expect(child).not.toBe(computing);
  process.kill(child ?? 0, 0);
});

it('loses one that ends at once, and one that is killed a little later', async () => {
  const [computing, other] = stack.workers;
  other?.kill('SIGTERM');
  if (other) await exited(other);
  expect(await pids()).toEqual([computing?.pid]);
  computing?.kill('SIGKILL');
  await expect.poll(pids, { timeout: 20_000 }).toEqual([]);
});

it('is for operators', async () => {
  const answer = await stack.request('GET', '/v1/workers', undefined, { authorization: 'Bearer slk_nobody' });
  expect(answer.status).toBe(401);
});

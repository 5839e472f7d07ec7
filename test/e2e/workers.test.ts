/** The list of workers: what they say of themselves, how they leave it, and how many are needed. */
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

it('tells how many workers a model needs, also while there is none', async () => {
  const scaling = async () => (await stack.request('GET', '/v1/autoscale/mnist')).body;
  expect(await scaling()).toEqual({
    model: 'mnist',
    backlog: 0,
    oldestAgeMs: 0,
    arrivalPerSecond: 0,
    workers: 0,
    perWorkerPerSecond: null,
    timeToDrainSeconds: 0,
    targetDrainSeconds: 60,
    desiredWorkers: 0,
  });
  const instances = [Array(784).fill(0)];
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    const { body } = await stack.request('POST', '/v1/jobs', { model: 'mnist', instances });
    ids.push(body.id);
  }
  await expect.poll(scaling).toMatchObject({ backlog: 5, workers: 0, desiredWorkers: 1 });
  expect((await scaling()).oldestAgeMs).toBeGreaterThan(0);
  await expect.poll(async () => (await scaling()).arrivalPerSecond, { timeout: 5000 }).toBeGreaterThan(0);

  const { body } = await stack.request('GET', '/v1/autoscale');
  expect(body.data).toMatchObject([{ model: 'mnist', backlog: 5, desiredWorkers: 1 }]);

  await stack.request('POST', '/v1/queues/mnist/pause');
  expect(await scaling()).toMatchObject({ backlog: 5, desiredWorkers: 0 });
  await stack.request('POST', '/v1/queues/mnist/resume');
  expect(await scaling()).toMatchObject({ backlog: 5, desiredWorkers: 1 });

  stack.addWorker();
  for (const id of ids)
    await expect
      .poll(async () => (await stack.request('GET', `/v1/jobs/${id}`)).body.status, { timeout: 30_000 })
      .toBe('succeeded');
  const soon = { timeout: 10_000 };
  await expect.poll(scaling, soon).toMatchObject({ backlog: 0, workers: 1, timeToDrainSeconds: 0 });
});

it.each(['/v1/workers', '/v1/autoscale', '/v1/autoscale/mnist'])('%s is for operators', async (path) => {
  const answer = await stack.request('GET', path, undefined, { authorization: 'Bearer slk_nobody' });
  expect(answer.status).toBe(401);
});

it('knows no scaling of a model that there is not', async () => {
  const { status, body } = await stack.request('GET', '/v1/autoscale/nothing');
  expect([status, body.code]).toEqual([404, 'model_not_found']);
});

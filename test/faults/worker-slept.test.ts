/**
 * A worker that sleeps while a model is deleted brings nothing of it back, and no machine keeps a copy of what is gone.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { filesBelow, keysThatName } from '../support/deleted-models.js';
import { childrenOf, signal } from '../support/processes.js';
import { type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';
import { denseByHand, writeDense } from '../support/tiny-models.js';
import { uploadVersion } from '../support/uploads.js';

const BOUND = { timeout: 20_000, interval: 50 };
/** A copy that nobody uses stays for half a minute. */
const CACHE_BOUND = { timeout: 90_000, interval: 500 };
const ROW = [1, 2, 3];
const SUCCESS = { status: 'succeeded', predictions: [denseByHand(ROW)] };
const folder = temporaryFolder();
const made = writeDense(folder.path);
const caches = ['one', 'two'].map((name) => join(folder.path, name));

let stack: Stack;
let redis: Redis;
beforeAll(async () => {
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  stack = await startStack(inject('redisUrl'), {
    LOG_LEVEL: 'info',
    SLUICE_CACHE_DIR: caches[0] as string,
    SLUICE_MODELS: 'mnist,cold',
  });
  await stack.ready();
});
afterAll(async () => {
  await stack?.close();
  redis?.disconnect();
  folder.remove();
});

const ask = (method: string, path: string) => stack.request(method, `/v1/${path}`);
const submit = (wait: number) =>
  stack.request('POST', `/v1/jobs?wait=${wait}`, { model: 'cold', instances: [ROW] });
const status = async () => (await ask('GET', 'models/cold')).status;
const stateOf = async (version: number) => (await ask('GET', `models/cold/versions/${version}`)).body.state;
const workersOf = async () => (await ask('GET', 'models/cold')).body.versions[0].workers;
const named = (text: string) => keysThatName(redis, stack.prefix, text);
const fetched = () => filesBelow(...caches.map((cache) => join(cache, 'models')));

it('drops it, and brings nothing of it back', async () => {
  stack.addWorker({ SLUICE_CACHE_DIR: caches[1] as string, SLUICE_ROLES: 'inference' });
  await uploadVersion(stack, 'cold', made);
  await expect.poll(() => stateOf(1), BOUND).toBe('ready');
  await expect.poll(workersOf, BOUND).toBe(2);
  const [slept] = stack.workers;
  const children = childrenOf(slept?.pid);
  // A batch is with the child, and its jobs are taken over by the other worker.
  for (const pid of children) signal(pid, 'SIGSTOP');
  const jobs = await Promise.all(Array.from({ length: 20 }, () => submit(0)));
  signal(slept?.pid, 'SIGSTOP');
  const upkeep = stack.addWorker({ SLUICE_CACHE_DIR: caches[1] as string, SLUICE_ROLES: 'upkeep' });
  for (const { body } of jobs)
    expect((await ask('GET', `jobs/${body.id}?wait=30`)).body).toMatchObject(SUCCESS);
  await ask('DELETE', 'models/cold');
  await expect.poll(status, BOUND).toBe(404);
  // A finished job is kept for its own time.
  for (const { body } of jobs) expect(await ask('DELETE', `jobs/${body.id}`)).toMatchObject({ status: 204 });
  for (const pid of [slept?.pid, ...children]) signal(pid, 'SIGCONT');
  const removed = () => stack.output().split('"model":"cold","version":1,"msg":"version removed"').length - 1;
  await expect.poll(removed, BOUND).toBe(2);
  const left = async () => (await named('cold')).filter((key) => key !== 'purges');
  await expect.poll(left, BOUND).toEqual(['version-numbers']);
  upkeep.kill();
});

it('takes its name for another version, under another number', async () => {
  expect((await uploadVersion(stack, 'cold', made, { change: '\n' })).body.version).toBe(2);
  await expect.poll(() => stateOf(2), BOUND).toBe('ready');
  expect((await submit(20)).body).toMatchObject(SUCCESS);
});

it('keeps no copy of what is gone', async () => {
  await ask('DELETE', 'models/cold');
  await expect.poll(fetched, CACHE_BOUND).toEqual([]);
  expect(filesBelow(join(stack.dataDir, 'blobs')).filter((path) => path.includes('models,'))).toEqual([]);
  await expect.poll(() => named('cold@'), BOUND).toEqual([]);
});

/**
 * Models and versions that are deleted: jobs that were accepted are computed, then nothing is left of them in the store and in no
 * key but those that are documented to stay.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { createBatchFiles } from '../support/batch-files.js';
import { filesBelow, keysThatName } from '../support/deleted-models.js';
import { childrenOf, signal } from '../support/processes.js';
import { type Answer, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';
import { denseByHand, writeDense } from '../support/tiny-models.js';
import { type UploadOptions, uploadVersion } from '../support/uploads.js';

const BOUND = { timeout: 20_000 };
/** Bounds looks at every key of Redis. */
const SEARCH = { timeout: 20_000, interval: 250 };
const ROW = [1, 2, 3];
const SUCCESS = { status: 'succeeded', predictions: [denseByHand(ROW)] };
/** The highest number that the name gave. */
const STAYS = ['version-numbers'];
const folder = temporaryFolder();
const made = writeDense(folder.path);

let stack: Stack;
let redis: Redis;
beforeAll(async () => {
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  stack = await startStack(
    inject('redisUrl'),
    {
      LOG_LEVEL: 'info',
      SLUICE_CACHE_DIR: join(folder.path, 'cache'),
      SLUICE_MODELS: 'mnist,plain,occupied,held,aliased,lines,raced',
    },
    1,
  );
  await stack.ready();
});
afterAll(async () => {
  await stack?.close();
  redis?.disconnect();
  folder.remove();
});

const upload = (model: string, said: UploadOptions = {}) => uploadVersion(stack, model, made, said);
const ask = (method: string, path: string, body?: object) => stack.request(method, `/v1/${path}`, body);
const submit = (model: string, wait = 20) =>
  ask('POST', `jobs?wait=${wait}`, { model, instances: [ROW], cacheSeconds: 600 });
const stateOf = async (model: string, version: number) =>
  (await ask('GET', `models/${model}/versions/${version}`)).body.state;
const isReady = (model: string, version: number) =>
  expect.poll(() => stateOf(model, version), BOUND).toBe('ready');
const status = async (path: string) => (await ask('GET', path)).status;
const stored = () => filesBelow(join(stack.dataDir, 'blobs'), join(stack.dataDir, 'uploads'));
/** Upkeep looks once more some seconds after a purge. */
const named = async (text: string) =>
  (await keysThatName(redis, stack.prefix, text)).filter((key) => key !== 'purges');

async function ready(model: string): Promise<void> {
  expect((await upload(model)).status).toBe(202);
  await isReady(model, 1);
}

/** A finished job is kept for its own time. */
const erase = async (...jobs: Answer[]) => {
  for (const { body } of jobs) expect(await ask('DELETE', `jobs/${body.id}`)).toMatchObject({ status: 204 });
};

describe('a model that is deleted', () => {
  it('leaves no file and no key', async () => {
    const before = stored();
    await ready('plain');
    await upload('plain', { change: ' ' });
    await isReady('plain', 2);
    const jobs = [await submit('plain'), await submit('plain@1')];
    for (const { body } of jobs) expect(body).toMatchObject(SUCCESS);
    const canary = { version: 1, canary: { version: 2, percent: 50 } };
    expect((await ask('PUT', 'models/plain/aliases/stable', canary)).status).toBe(200);
    for (let i = 0; i < 5; i++) jobs.push(await submit('plain@stable'));
    await ask('POST', 'queues/plain/pause');
    expect((await named('plain')).length).toBeGreaterThan(10);
    expect(stored().length).toBe(before.length + 4);

    const { status: code, body } = await ask('DELETE', 'models/plain');
    expect([200, 202]).toContain(code);
    expect(body).toMatchObject({ name: 'plain', deleting: true });
    await ask('POST', 'queues/plain/resume');
    await expect.poll(() => status('models/plain'), BOUND).toBe(404);
    expect((await submit('plain')).body.code).toBe('model_not_found');
    expect((await ask('DELETE', 'models/plain')).status).toBe(404);
    await erase(...jobs);
    expect(stored()).toEqual(before);
    await expect.poll(() => named('plain'), SEARCH).toEqual(STAYS);
  });

  it('goes on with its numbers when its name comes back', async () => {
    expect(await upload('plain', { version: 2 })).toMatchObject({
      status: 409,
      body: { code: 'version_exists', detail: expect.stringContaining('no number is given twice') },
    });
    expect(await upload('plain')).toMatchObject({ status: 202, body: { version: 3 } });
    await isReady('plain', 3);
    expect((await submit('plain')).body).toMatchObject({ ...SUCCESS, model: { version: 3 } });
  });

  it('takes no new job while those it had are computed, and tells that it goes', async () => {
    const before = stored();
    await ready('occupied');
    await ask('POST', 'queues/occupied/pause');
    const waiting = await submit('occupied', 0);
    const deleted = await ask('DELETE', 'models/occupied');
    expect(deleted).toMatchObject({
      status: 202,
      body: { deleting: true, versions: [{ state: 'retired' }] },
    });
    expect(await submit('occupied')).toMatchObject({ status: 404, body: { code: 'model_not_found' } });
    expect(await upload('occupied')).toMatchObject({
      status: 409,
      body: { code: 'model_deleting', retryable: true },
    });
    const moved = await ask('PUT', 'models/occupied/aliases/stable', { version: 1 });
    expect(moved).toMatchObject({ status: 409, body: { code: 'model_deleting' } });
    expect((await ask('DELETE', 'models/occupied')).status, 'again').toBe(202);
    expect(await ask('GET', 'models/occupied')).toMatchObject({ status: 200, body: { deleting: true } });

    await ask('POST', 'queues/occupied/resume');
    const done = await ask('GET', `jobs/${waiting.body.id}?wait=20`);
    expect(done.body).toMatchObject(SUCCESS);
    await expect.poll(() => status('models/occupied'), BOUND).toBe(404);
    expect(await ask('POST', `jobs/${waiting.body.id}/retry`)).toMatchObject({ status: 404 });
    await erase(waiting);
    expect(stored()).toEqual(before);
    await expect.poll(() => named('occupied'), SEARCH).toEqual(STAYS);
  });

  it('has the job that runs finished', async () => {
    await ready('held');
    const children = childrenOf(stack.workers[0]?.pid);
    for (const pid of children) signal(pid, 'SIGSTOP');
    const job = await submit('held', 0);
    const jobStatus = async () => (await ask('GET', `jobs/${job.body.id}`)).body.status;
    await expect.poll(jobStatus, BOUND).toBe('running');
    expect((await ask('DELETE', 'models/held')).status).toBe(202);
    for (const pid of children) signal(pid, 'SIGCONT');
    expect((await ask('GET', `jobs/${job.body.id}?wait=20`)).body).toMatchObject(SUCCESS);
    await expect.poll(() => status('models/held'), BOUND).toBe(404);
    await erase(job);
    await expect.poll(() => named('held'), SEARCH).toEqual(STAYS);
  });

  it('has the lines of its batches computed', async () => {
    await ready('lines');
    const batches = createBatchFiles(stack);
    await ask('POST', 'queues/lines/pause');
    const lines = Array.from({ length: 1200 }, () => ({ instances: [ROW] }));
    const { id } = await batches.create(lines, { model: 'lines' });
    expect((await ask('DELETE', 'models/lines')).status).toBe(202);
    const refused = await batches.post({ model: 'lines', inputFile: await batches.upload(lines) });
    expect(refused).toMatchObject({ status: 404, body: { code: 'model_not_found' } });
    await ask('POST', 'queues/lines/resume');
    expect(await batches.ended(id)).toMatchObject({ status: 'completed', counts: { succeeded: 1200 } });
    await expect.poll(() => status('models/lines'), BOUND).toBe(404);
    expect(stored().filter((path) => path.includes('models,lines'))).toEqual([]);
  });

  it('may be uploaded to, deleted and asked at the same time', async () => {
    await ready('raced');
    const codes = await Promise.all([
      ...Array.from({ length: 10 }, () => submit('raced')),
      upload('raced', { change: ' ' }),
      ask('DELETE', 'models/raced'),
      ...Array.from({ length: 10 }, () => submit('raced')),
      upload('raced', { change: '\n' }),
    ]);
    for (const { status: code, body } of codes) {
      expect([200, 202, 404, 409]).toContain(code);
      if (body.status !== undefined && code === 200 && body.object === 'job')
        expect(body).toMatchObject(SUCCESS);
    }
    // An upload that came after it made the model anew.
    await expect
      .poll(async () => {
        const { status: code, body } = await ask('GET', 'models/raced');
        return code === 404 || body.deleting === false;
      }, BOUND)
      .toBe(true);
    await ask('DELETE', 'models/raced');
    await expect.poll(() => status('models/raced'), BOUND).toBe(404);
    await erase(...codes.filter(({ body }) => body.object === 'job'));
    expect(stored().filter((path) => path.includes('raced'))).toEqual([]);
    await expect.poll(() => named('raced'), SEARCH).toEqual(STAYS);
  });

  it('must not be bundled, and it says why', async () => {
    for (const path of ['models/mnist', 'models/mnist/versions/1?purge=true']) {
      const { status: code, body } = await ask('DELETE', path);
      expect({ code, ...body }).toMatchObject({ code: 'model_bundled', status: 409, retryable: false });
      expect(body.detail).toContain('the models folder holds mnist/1. Remove that folder');
    }
    expect(await stateOf('mnist', 1)).toBe('ready');
  });
});

describe('a version that is purged', () => {
  it('gives back what it has, and its number stays taken', async () => {
    await ready('aliased');
    const before = stored();
    await upload('aliased', { change: ' ' });
    await isReady('aliased', 2);
    const jobs = [await submit('aliased')];
    await ask('PUT', 'models/aliased/aliases/next', { version: 1, canary: { version: 2, percent: 50 } });
    const { status: code, body } = await ask('DELETE', 'models/aliased/versions/2?purge=true');
    expect(code).toBe(200);
    expect(body).toMatchObject({ versions: [{ version: 1 }], aliases: { latest: 2, next: 1 }, canaries: {} });
    await erase(...jobs);
    expect(stored()).toEqual(before);
    const gone = {
      status: 410,
      body: { code: 'version_retired', detail: expect.stringContaining('was purged') },
    };
    for (const path of ['', '/schema'])
      expect(await ask('GET', `models/aliased/versions/2${path}`)).toMatchObject(gone);
    for (const model of ['aliased', 'aliased@2']) expect(await submit(model)).toMatchObject(gone);
    expect((await submit('aliased@1')).body).toMatchObject(SUCCESS);
    expect((await ask('DELETE', 'models/aliased/versions/2?purge=true')).status, 'again').toBe(200);
    expect(await upload('aliased', { version: 2 })).toMatchObject({
      status: 409,
      body: { code: 'version_exists' },
    });
    expect(await upload('aliased', { change: ' ' })).toMatchObject({ status: 202, body: { version: 3 } });
    await isReady('aliased', 3);
    expect((await submit('aliased')).body).toMatchObject({ ...SUCCESS, model: { version: 3 } });
    await expect.poll(() => named('aliased:2'), SEARCH).toEqual([]);
    await expect.poll(() => named('aliased-2'), SEARCH).toEqual([]);
  });

  it('waits for its last job, and says until when it stays otherwise', async () => {
    await ask('POST', 'queues/aliased/pause');
    const job = await ask('POST', 'jobs', { model: 'aliased@3', instances: [ROW] });
    const retired = await ask('DELETE', 'models/aliased/versions/3');
    const [version] = retired.body.versions;
    const days = (Date.parse(version.deletedAfter) - Date.now()) / 86_400_000;
    expect({ status: retired.status, state: version.state, days: Math.round(days) }).toEqual({
      status: 200,
      state: 'retired',
      days: 30,
    });
    const purged = await ask('DELETE', 'models/aliased/versions/3?purge=true');
    expect(purged.status).toBe(202);
    expect(Date.parse(purged.body.versions[0].deletedAfter)).toBeLessThan(Date.now() + 1000);
    await ask('POST', 'queues/aliased/resume');
    expect((await ask('GET', `jobs/${job.body.id}?wait=20`)).body).toMatchObject(SUCCESS);
    await expect.poll(() => status('models/aliased/versions/3'), BOUND).toBe(410);
  });

  it('is refused with a wrong parameter', async () => {
    const { status: code, body } = await ask('DELETE', 'models/aliased/versions/1?purge=yes');
    expect({ code, path: body.errors[0].path }).toEqual({ code: 422, path: '?purge' });
  });
});

it('nothing is left in the store, nor a word in Redis', async () => {
  for (const model of ['plain', 'aliased']) await ask('DELETE', `models/${model}`);
  for (const model of ['plain', 'aliased'])
    await expect.poll(() => status(`models/${model}`), BOUND).toBe(404);
  await expect.poll(() => stored().filter((path) => path.includes('models,')), BOUND).toEqual([]);
  for (const model of ['plain', 'aliased'])
    await expect.poll(() => keysThatName(redis, stack.prefix, `${model}@`), SEARCH).toEqual([]);
});

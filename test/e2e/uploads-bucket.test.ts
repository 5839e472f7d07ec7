/**
 * Versions uploaded into a bucket: served by a worker that shares nothing else with the API, and by another one later; what
 * becomes of an upload, and of a worker's fetch, while the bucket fails.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Fault, openS3Server, type S3Server } from '../support/s3-server.js';
import { type Answer, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';
import { denseByHand, writeDense } from '../support/tiny-models.js';
import { uploadVersion } from '../support/uploads.js';

const BOUND = { timeout: 20_000 };
const PREFIX = 'some/prefix/models/';
const ROW = [1, 2, 3];
const BUSY: Fault = { status: 503, code: 'SlowDown' };
const folder = temporaryFolder();
const dense = writeDense(folder.path);
const { folder: made } = dense;
const hashes = dense.manifest.files;
const paths = Object.keys(hashes);

let server: S3Server;
let stack: Stack;

beforeAll(async () => {
  server = await openS3Server();
  mkdirSync(join(folder.path, 'none'));
  stack = await startStack(
    inject('redisUrl'),
    {
      SLUICE_MODELS_DIR: join(folder.path, 'none'),
      SLUICE_CACHE_DIR: join(folder.path, 'cache-of-api'),
      SLUICE_BLOBS: `s3://${server.bucket}/some/prefix`,
      SLUICE_BLOBS_ENDPOINT: server.endpoint,
      SLUICE_BLOBS_ACCESS_KEY: server.credentials.accessKeyId,
      SLUICE_BLOBS_SECRET_KEY: server.credentials.secretAccessKey,
      LOG_LEVEL: 'info',
    },
    0,
  );
  addMachine('one');
  await stack.apiReady();
});
afterAll(async () => {
  await stack?.close();
  await server?.close();
  folder.remove();
});
afterEach(() => server.failAlways(null));

/** A worker with no file in common with the others. */
function addMachine(name: string) {
  return stack.addWorker({
    SLUICE_CACHE_DIR: join(folder.path, name),
    SLUICE_DATA_DIR: join(folder.path, `${name}-data`),
  });
}

/** `change` makes other files, for another content of the bucket. */
const upload = (model: string, change = ''): Promise<Answer> =>
  uploadVersion(stack, model, dense, { change });

const versionOf = async (model: string, version = 1) =>
  (await stack.request('GET', `/v1/models/${model}/versions/${version}`)).body;
const reaches = (model: string, version: number, state: string) =>
  expect.poll(async () => (await versionOf(model, version)).state, BOUND).toBe(state);
const predict = async (model: string) =>
  (await stack.request('POST', '/v1/jobs?wait=20', { model, instances: [ROW] })).body;
const SUCCESS = { status: 'succeeded', predictions: [denseByHand(ROW)] };
const stored = () => [...server.objects.keys()].filter((key) => key.startsWith(PREFIX));
const hashOf = (key: string) => key.split('/').at(-1);
/** Nothing lies about on the API's machine. */
const isClean = () => {
  for (const place of ['uploads', 'spool'])
    expect(readdirSync(join(stack.dataDir, place)), place).toEqual([]);
};

describe('a version', () => {
  it('lies in the bucket alone, is served from there, and computes', async () => {
    const { status, body } = await upload('dense');
    expect({ status, version: body.version }).toEqual({ status: 202, version: 1 });
    expect(stored().map(hashOf).sort()).toEqual(paths.map((path) => hashes[path]).sort());
    for (const path of paths) {
      const key = stored().find((each) => hashOf(each) === hashes[path]) ?? '';
      const object = server.objects.get(key);
      expect(object?.body.equals(readFileSync(join(made, path))), path).toBe(true);
    }
    isClean();
    expect(existsSync(join(stack.dataDir, 'blobs'))).toBe(false);
    await reaches('dense', 1, 'ready');
    expect(await predict('dense')).toMatchObject(SUCCESS);
  });

  it('is served by another machine, which has nothing of it', async () => {
    stack.workers.pop()?.kill('SIGKILL');
    addMachine('two');
    expect(await predict('dense')).toMatchObject(SUCCESS);
    const copies = join(folder.path, 'two/models');
    const [copy = ''] = readdirSync(copies);
    expect(readdirSync(copies)).toHaveLength(1);
    for (const path of paths)
      expect(readFileSync(join(copies, copy, path)).equals(readFileSync(join(made, path))), path).toBe(true);
  });

  it('goes when it is retired, and the one beside it stays', async () => {
    expect((await upload('dense', ' ')).body.version).toBe(2);
    await reaches('dense', 2, 'ready');
    expect((await stack.request('DELETE', '/v1/models/dense/versions/2')).status).toBe(200);
    await expect
      .poll(() => stack.output(), BOUND)
      .toMatch(/"model":"dense","version":2,"msg":"version removed"/);
    const refused = await stack.request('POST', '/v1/jobs', { model: 'dense@2', instances: [ROW] });
    expect(refused).toMatchObject({ status: 410, body: { code: 'version_retired' } });
    expect(await predict('dense@1')).toMatchObject(SUCCESS);
  });
});

describe('a bucket that fails', () => {
  const isSecond = (method: string, key: string) => method === 'PUT' && hashOf(key) === hashes['weights.bin'];

  it.each<[string, Fault, string, string]>([
    ['is busy', BUSY, 'The blob store cannot be reached.', '1'],
    ['breaks off', 'cut-upload', 'The blob store cannot be reached.', '1'],
    ['is full', { status: 507, code: 'XMinioStorageFull' }, 'The blob store is full.', '60'],
    ['refuses', { status: 403, code: 'AccessDenied' }, 'The blob store refuses our credentials.', '1'],
  ])('and %s in the middle of an upload makes no version of it', async (_, fault, detail, retryAfter) => {
    const before = stored();
    server.failAlways(fault, isSecond);
    const { status, headers, body } = await upload('unlucky');
    expect({ status, ...body }).toMatchObject({ status: 503, code: 'unavailable', retryable: true, detail });
    expect(headers.get('retry-after')).toBe(retryAfter);
    expect(JSON.stringify(body)).not.toMatch(/sluice-test|127\.0\.0\.1|prefix/);
    expect(await stack.request('GET', '/v1/models/unlucky')).toMatchObject({
      status: 404,
      body: { code: 'model_not_found' },
    });
    isClean();
    expect(stored(), 'the first file went again').toEqual(before);
    const inParts = server.requests.filter(({ method }) => method === 'POST');
    expect(inParts, 'an upload in parts would leave them').toEqual([]);
  });

  it('takes the same upload once it is well, as the first version', async () => {
    server.fail(BUSY, BUSY);
    expect(await upload('unlucky')).toMatchObject({ status: 202, body: { version: 1 } });
    await reaches('unlucky', 1, 'ready');
    expect(await predict('unlucky')).toMatchObject(SUCCESS);
  });

  it.each<[string, Fault, string]>([
    ['is busy', BUSY, '\n'],
    ['breaks off', 'cut-download', '\n\n'],
  ])(
    'and %s while a worker fetches leaves the version waiting, until it is well',
    async (_, fault, change) => {
      const seen = () => server.requests.filter(({ method }) => method === 'GET').length;
      server.failAlways(fault, (method) => method === 'GET');
      const { body } = await upload('later', change);
      const before = seen();
      await expect.poll(seen, BOUND).toBeGreaterThan(before + 1);
      await expect
        .poll(async () => (await versionOf('later', body.version)).waitingFor?.what, BOUND)
        .toBe('files');
      server.failAlways(null);
      await reaches('later', body.version, 'ready');
      expect(await predict(`later@${body.version}`)).toMatchObject(SUCCESS);
      expect(readdirSync(join(folder.path, 'two/models')).filter((name) => name.startsWith('.'))).toEqual([]);
    },
  );

  it('and has other bytes than were stored serves nothing of them, and the version once it is mended', async () => {
    server.failAlways(BUSY, (method) => method === 'GET');
    const { body } = await upload('damaged', '\n\n\n');
    const key = stored().find((each) => server.objects.get(each)?.body.toString().endsWith('\n\n\n')) ?? '';
    const object = server.objects.get(key);
    if (!object) throw new Error('model.json is not in the bucket');
    server.objects.set(key, {
      ...object,
      body: Buffer.from(object.body.toString().replace('dense', 'xense')),
    });
    server.failAlways(null);
    await expect.poll(() => stack.output(), BOUND).toContain('other bytes than were stored');
    await expect
      .poll(async () => (await versionOf('damaged', body.version)).waitingFor?.what, BOUND)
      .toBe('files');
    server.objects.set(key, object);
    await reaches('damaged', body.version, 'ready');
    expect(await predict('damaged')).toMatchObject(SUCCESS);
  });
});

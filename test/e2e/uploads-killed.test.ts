/**
 * Uploads that end midway: refused, broken off, or cut by a kill of the API. Nothing of them stays, in the data folder, in the
 * blob store or in Redis.
 */
import { readdirSync, utimesSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { filesBelow, keysThatName } from '../support/deleted-models.js';
import { type Api, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';
import { writeDense } from '../support/tiny-models.js';
import { partsOf, postVersion, uploadVersion } from '../support/uploads.js';

const BOUND = { timeout: 20_000 };
const HALF = Buffer.alloc(512 * 1024, 7);
const folder = temporaryFolder();
const dense = writeDense(folder.path);

let stack: Stack;
let redis: Redis;
beforeAll(async () => {
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  stack = await startStack(inject('redisUrl'), {}, 0);
  await stack.apiReady();
});
afterAll(async () => {
  await stack?.close();
  redis?.disconnect();
  folder.remove();
});

const onDisk = () =>
  filesBelow(join(stack.dataDir, 'blobs'), join(stack.dataDir, 'uploads'), join(stack.dataDir, 'spool'));

/** Begins an upload of more than it sends. */
function beginUpload({ url }: Pick<Api, 'url'>, path: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  const head = '--b\r\nContent-Disposition: form-data; name="file"; filename="weights.bin"\r\n\r\n';
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stack.key}\r\n` +
      `Content-Type: multipart/form-data; boundary=b\r\nContent-Length: ${4 * HALF.length}\r\n\r\n${head}`,
  );
  socket.write(HALF);
  return socket;
}

/** Lets two hours pass for everything in a folder. */
function age(parent: string): void {
  const longAgo = Date.now() / 1000 - 7200;
  for (const name of readdirSync(parent)) utimesSync(join(parent, name), longAgo, longAgo);
}

it('an upload that breaks off, or is refused, leaves nothing at once', async () => {
  const before = onDisk();
  const socket = beginUpload(stack, '/v1/models/broken/versions');
  await expect.poll(() => onDisk().length, BOUND).toBeGreaterThan(before.length);
  socket.destroy();
  await expect.poll(onDisk, BOUND).toEqual(before);
  const refused = await postVersion(stack, 'broken', partsOf([['model.json', '{}']]));
  expect(refused.status).toBe(422);
  expect(onDisk()).toEqual(before);
  expect(readdirSync(join(stack.dataDir, 'uploads'))).toEqual([]);
  expect(await keysThatName(redis, stack.prefix, 'broken')).toEqual([]);
});

it('an API that is killed in the middle leaves what the next one sweeps, and what is young stays', async () => {
  const before = onDisk();
  const api = await stack.addApi();
  await stack.apiReady(api);
  beginUpload(api, '/v1/models/killed/versions');
  beginUpload(api, '/v1/files');
  // One file in the folder of an upload of a version, one of a put under way.
  await expect.poll(() => onDisk().length, BOUND).toBe(before.length + 2);
  api.process.kill('SIGKILL');
  const survivor = beginUpload(stack, '/v1/models/killed/versions');
  await expect.poll(() => onDisk().length, BOUND).toBe(before.length + 3);
  const [uploads, puts] = [join(stack.dataDir, 'uploads'), join(stack.dataDir, 'blobs/uploads')];
  const young = readdirSync(uploads);
  await stack.apiReady(await stack.addApi());
  expect(readdirSync(uploads), 'they may be of an API that lives').toEqual(young);
  survivor.destroy();
  await expect.poll(() => onDisk().length, BOUND).toBe(before.length + 2);

  age(uploads);
  age(puts);
  // Each API sweeps its folder when it starts, a worker the store.
  await stack.apiReady(await stack.addApi());
  expect(readdirSync(uploads)).toEqual([]);
  stack.addWorker({ SLUICE_ROLES: 'upkeep' });
  await expect.poll(onDisk, BOUND).toEqual(before);
  expect(await keysThatName(redis, stack.prefix, 'killed')).toEqual([]);
});

it('blobs that were stored for a version which was never registered are swept', async () => {
  const before = onDisk();
  const uploaded = await uploadVersion(stack, 'orphan', dense);
  expect(uploaded.status).toBe(202);
  const kept = onDisk();
  expect(kept.length).toBe(before.length + Object.keys(dense.manifest.files).length);
  const blobsFolder = join(stack.dataDir, 'blobs');
  for (const shard of readdirSync(blobsFolder)) age(join(blobsFolder, shard));
  const first = stack.addWorker({ SLUICE_ROLES: 'upkeep', LOG_LEVEL: 'info' });
  await expect.poll(() => stack.output(), BOUND).toContain('worker serves');
  expect(onDisk(), 'a version names them').toEqual(kept);
  first.kill();
  // An API that died between the last blob and the record leaves this.
  await redis.del(`${stack.prefix}:model:orphan`);
  stack.addWorker({ SLUICE_ROLES: 'upkeep' });
  await expect.poll(onDisk, BOUND).toEqual(before);
});

/**
 * Bundled models in a bucket: an API and a worker that have no folder of them serve what is there.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, inject, it } from 'vitest';
import { type OpenedBucket, openBucket } from '../support/blob-stores.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';

const FILES = ['model.yaml', 'model.json', 'group1-shard1of1.bin', 'golden.json'];
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let bucket: OpenedBucket | undefined;
let stack: Stack | undefined;
afterAll(async () => {
  await stack?.close();
  await bucket?.close();
});

it('are served from there', async () => {
  bucket = await openBucket();
  for (const name of FILES) {
    const bytes = readFileSync(join(ROOT, 'deploy/models/mnist/1', name));
    await bucket.store.put(`models/mnist/1/${name}`, bytes);
  }
  const { config, server, folder } = bucket;
  stack = await startStack(inject('redisUrl'), {
    SLUICE_MODELS_DIR: `s3://${server.bucket}/some/prefix/models`,
    SLUICE_BLOBS_ENDPOINT: server.endpoint,
    SLUICE_BLOBS_ACCESS_KEY: config.SLUICE_BLOBS_ACCESS_KEY ?? '',
    SLUICE_BLOBS_SECRET_KEY: config.SLUICE_BLOBS_SECRET_KEY ?? '',
    SLUICE_CACHE_DIR: join(folder, 'cache'),
  });
  await stack.ready();
  const { body } = await stack.request('POST', '/v1/jobs?wait=20', digit);
  expect(body).toMatchObject({ status: 'succeeded', model: { name: 'mnist', version: 1 } });
  expect(body.predictions[0].indexOf(Math.max(...body.predictions[0]))).toBe(7);
});

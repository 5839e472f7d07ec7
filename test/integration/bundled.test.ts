/** Bundled models in a bucket: fetched into the cache, once for each state of the bucket, and registered as they are found. */
import { readdirSync, readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { createLogger } from '../../shared/base/log.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import {
  keepBundled,
  readBundledVersions,
  registerBundled,
} from '../../shared/core/models/bundled-versions.js';
import type { BundledVersion } from '../../shared/model-packages/model-folder.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { type OpenedBucket, openBucket } from '../support/blob-stores.js';
import { idleConnections } from '../support/connections.js';
import { ROOT } from '../support/stack.js';

const log = createLogger('test', 'silent');
const MNIST = join(ROOT, 'deploy/models/mnist/1');

let bucket: OpenedBucket;
beforeAll(async () => {
  bucket = await openBucket();
  for (const name of readdirSync(MNIST))
    await bucket.store.put(`mnist/1/${name}`, readFileSync(join(MNIST, name)));
});
afterAll(() => bucket.close());

const read = async () => {
  const config = {
    ...bucket.config,
    SLUICE_MODELS_DIR: `s3://${bucket.server.bucket}/some/prefix`,
    SLUICE_CACHE_DIR: bucket.folder,
  };
  return (await readBundledVersions(config, systemClock, log)).versions;
};

it('are those of the place, and lie in the cache', async () => {
  const [version, ...others] = await read();
  expect(others).toEqual([]);
  expect(version?.manifest).toMatchObject({ name: 'mnist', version: 1, format: 'layers' });
  expect(version?.path.startsWith(bucket.folder)).toBe(true);
  for (const name of readdirSync(MNIST))
    expect(readFileSync(join(version?.path ?? '', name))).toEqual(readFileSync(join(MNIST, name)));
});

it('are fetched again only when the bucket has changed', async () => {
  const cached = () => readdirSync(join(bucket.folder, 'bundled'));
  const [before] = await read();
  expect(cached()).toHaveLength(1);
  await bucket.store.put('mnist/1/more.txt', Buffer.from('more'));
  await expect(read(), 'its manifest does not know that file, which is no fault').resolves.toHaveLength(1);
  expect(cached()).toHaveLength(2);
  await bucket.store.delete('mnist/1/more.txt');
  expect((await read())[0]?.path).toBe(before?.path);
});

it('leave no folder that no worker has touched for a week', async () => {
  const parent = join(bucket.folder, 'bundled');
  const [used, left] = readdirSync(parent);
  const [version] = await read();
  const unused = [used, left].find((name) => !version?.path.includes(String(name)));
  const age = (name: string | undefined, days: number) => {
    const seconds = Date.now() / 1000 - days * 86_400;
    utimesSync(join(parent, String(name)), seconds, seconds);
  };
  age(unused, 6);
  await read();
  expect(readdirSync(parent)).toHaveLength(2);
  age(unused, 8);
  await keepBundled(
    { SLUICE_MODELS_DIR: 's3://a/b' },
    [{ ...version, path: join(parent, String(unused), 'm/1') } as BundledVersion],
    systemClock,
  );
  await read();
  expect(readdirSync(parent)).toHaveLength(2);
  age(unused, 8);
  await read();
  expect(readdirSync(parent)).not.toContain(unused);
  expect(readFileSync(join(version?.path ?? '', 'model.json')).byteLength).toBeGreaterThan(0);
});

it('are an empty list where the place is empty, and `unavailable` where there is no bucket', async () => {
  const config = { ...bucket.config, SLUICE_CACHE_DIR: bucket.folder };
  const at = async (place: string) =>
    (await readBundledVersions({ ...config, SLUICE_MODELS_DIR: place }, systemClock, log)).versions;
  expect(await at(`s3://${bucket.server.bucket}/elsewhere`)).toEqual([]);
  await expect(at('s3://no-such-bucket/x')).rejects.toMatchObject({ code: 'unavailable' });
});

it('are refused at the start where the place is none', () => {
  expect(() => loadConfig({ SLUICE_MODELS_DIR: 's3://UPPER/x' })).toThrow(/SLUICE_MODELS_DIR/);
  expect(loadConfig({ SLUICE_MODELS_DIR: 'my-models' }).SLUICE_MODELS_DIR).toBe('my-models');
});

describe('a version that cannot be read', () => {
  const why = 'm/1/model.yaml: / is wrong';
  const none = () => 0;
  const faulty = [{ name: 'm', version: 1, why }];
  let redis: Redis;
  let core: Core;
  let good: BundledVersion;
  beforeEach(async () => {
    redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
    const config = { ...loadConfig({}), SLUICE_KEY_PREFIX: `{bundled-${newId('req', 0).slice(-10)}}` };
    core = composeCore(config, idleConnections(redis, bucket.store));
    const [mnist] = await read();
    if (!mnist) throw new Error('The bucket lacks mnist.');
    good = { ...mnist, manifest: { ...mnist.manifest, name: 'm' } };
  });
  afterEach(async () => {
    const left = await redis.keys(`${core.keys.models.replace(/:models$/, '')}:*`);
    if (left.length > 0) await redis.unlink(left);
    redis.disconnect();
  });
  const register = (versions: BundledVersion[], broken: typeof faulty, servers = none) =>
    registerBundled(core.models, { versions, faulty: broken }, log, servers);
  const version = async () => (await core.models.read('m'))?.versions[0];

  it('is failed, and pending once it can be read', async () => {
    await register([], faulty);
    expect(await version()).toMatchObject({ state: 'failed', error: why, waitingFor: null });
    await register([], [{ name: 'm', version: 1, why: 'another fault' }]);
    expect(await version()).toMatchObject({ state: 'failed', error: 'another fault' });
    await register([good], []);
    expect(await version()).toMatchObject({ state: 'pending', error: null, manifest: good.manifest });
  });

  it('that was ready and is served by nobody is failed, with its signature', async () => {
    await register([good], []);
    await core.models.report('m', 1, 'ready');
    await register([], faulty);
    expect(await version()).toMatchObject({ state: 'failed', error: why, manifest: good.manifest });
    await core.models.report('m', 1, 'ready');
    expect(await version()).toMatchObject({ state: 'ready', error: null });
  });

  it('that a worker serves stays ready', async () => {
    await register([good], []);
    await core.models.report('m', 1, 'ready');
    await register([], faulty, () => 1);
    expect(await version()).toMatchObject({ state: 'ready', error: null });
  });

  it('is purged as any other, and leaves the alias to the next that is ready', async () => {
    await register([], faulty);
    await core.models.retire('m', 1, 0);
    expect(await core.versionPurge.purgeVersion('m', 1)).toBe(true);
    expect(await core.models.read('m')).toMatchObject({ versions: [], purged: [1] });
    await register([{ ...good, manifest: { ...good.manifest, version: 2 } }], faulty);
    await core.models.report('m', 2, 'ready');
    expect(await core.models.read('m')).toMatchObject({ aliases: { latest: 2 }, purged: [1] });
    expect((await version())?.manifest.version).toBe(2);
  });

  it('that was retired stays so', async () => {
    await register([good], []);
    await core.models.retire('m', 1, null);
    await register([], faulty);
    expect(await version()).toMatchObject({ state: 'retired', error: null });
  });

  it('leaves an uploaded version of its number as it is', async () => {
    await core.models.add(good, 'some-folder');
    await register([], faulty);
    expect(await version()).toMatchObject({ state: 'pending', error: null, uploaded: true });
  });
});

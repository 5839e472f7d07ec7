/**
 * Fetched versions: the copies of uploaded versions on a worker's disk, which have a bound, go with their version, and are
 * never taken from a worker that uses them.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { STALE_UPLOAD_MS } from '../../shared/blobs/blobs.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { createFetchedVersions, TOUCH_MS, UNUSED_MS } from '../../shared/core/models/fetched-versions.js';
import type { Model } from '../../shared/core/models/model-record.js';
import { createManualClock, type ManualClock } from '../support/manual-clock.js';
import { temporaryFolder } from '../support/started-redis.js';

const BYTES = 100;
/** Room for two versions. */
const MAX_BYTES = 2.5 * BYTES;

let folder: ReturnType<typeof temporaryFolder>;
let clock: ManualClock;
/** The versions in the registry. */
let registered: number[];

beforeEach(() => {
  folder = temporaryFolder();
  clock = createManualClock(Date.now());
  registered = [1, 2, 3, 4];
});
afterEach(() => folder.remove());

const contentOf = (version: number) => Buffer.alloc(BYTES, version);
const hashOf = (version: number) => createHash('sha256').update(contentOf(version)).digest('hex');
const owner = (version: number) => ({
  manifest: { name: 'm', version, files: { w: hashOf(version) } } as unknown as Manifest,
  blobs: `mdl_${version}`,
});
const copies = () => readdirSync(join(folder.path, 'models'));

/** The cache of one worker; others share the folder. */
function openCache(maxBytes = MAX_BYTES) {
  const bySha = new Map([1, 2, 3, 4].map((version) => [hashOf(version), contentOf(version)]));
  const cache = createFetchedVersions({
    versionBlobs: {
      open: async (_, sha256) => {
        const bytes = bySha.get(sha256);
        return bytes ? { sizeBytes: BYTES, stream: Readable.from([bytes]) } : null;
      },
    },
    models: { list: async () => [{ versions: registered.map(owner) } as unknown as Model] },
    clock,
    config: { SLUICE_CACHE_DIR: folder.path, SLUICE_VERSION_CACHE_BYTES: maxBytes },
  });
  return {
    ...cache,
    fetch: (version: number) => cache.fetch(owner(version)),
    /** Uses these versions alone. */
    use: (...versions: number[]) =>
      cache.release((key) => versions.some((version) => key === `m@${version}`)),
  };
}

/** Lets time pass, in which these workers are alive. */
async function pass(ms: number, ...caches: ReturnType<typeof openCache>[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += TOUCH_MS) {
    await clock.advance(TOUCH_MS);
    for (const cache of caches) await cache.tend();
  }
}

it('the least recently used go until the bound is kept, and none that is used', async () => {
  const cache = openCache();
  const paths: string[] = [];
  for (const version of [1, 2, 3]) {
    paths.push(await cache.fetch(version));
    await pass(TOUCH_MS, cache);
  }
  cache.use(1, 2, 3);
  await pass(2 * UNUSED_MS, cache);
  expect(paths.map(existsSync), 'all are used').toEqual([true, true, true]);
  cache.use(1);
  await pass(TOUCH_MS, cache);
  await cache.fetch(3);
  cache.use(1, 3);
  await pass(2 * UNUSED_MS, cache);
  expect(paths.map(existsSync)).toEqual([true, false, true]);
  expect(await cache.fetch(2), 'it is there again when it is needed').toBe(paths[1]);
  expect(existsSync(join(paths[1] ?? '', 'w'))).toBe(true);
});

it('without a bound all stay', async () => {
  const cache = openCache(0);
  for (const version of [1, 2, 3, 4]) await cache.fetch(version);
  cache.use();
  await pass(10 * UNUSED_MS, cache);
  expect(copies()).toHaveLength(4);
});

it('a copy goes with its version, but not while a worker beside this one uses it', async () => {
  const [one, two] = [openCache(), openCache()];
  await one.fetch(1);
  await two.fetch(1);
  registered = [2];
  one.use();
  await pass(3 * UNUSED_MS, one, two);
  expect(copies(), 'the other uses it').toHaveLength(1);
  two.use();
  await pass(TOUCH_MS, one, two);
  expect(copies(), 'it may have begun to').toHaveLength(1);
  await pass(2 * UNUSED_MS, one, two);
  expect(copies()).toEqual([]);
});

it('a copy whose files another version has stays', async () => {
  const cache = openCache();
  await cache.fetch(1);
  cache.use();
  await pass(2 * UNUSED_MS, cache);
  expect(copies()).toHaveLength(1);
});

it('a worker that slept, and lost its copy, fetches it anew', async () => {
  const [awake, slept] = [openCache(), openCache()];
  const path = await slept.fetch(1);
  await awake.fetch(2);
  registered = [2];
  await pass(2 * UNUSED_MS, awake);
  expect(existsSync(path)).toBe(false);
  registered = [1, 2];
  expect(await slept.fetch(1)).toBe(path);
  expect(existsSync(join(path, 'w'))).toBe(true);
});

it('drafts of workers that were killed go, those of workers that fetch stay', async () => {
  const cache = openCache();
  await cache.fetch(1);
  const [old, young] = ['.old', '.young'].map((name) => join(folder.path, 'models', name)) as [
    string,
    string,
  ];
  for (const draft of [old, young]) {
    mkdirSync(draft);
    writeFileSync(join(draft, 'w'), 'half');
  }
  const longAgo = (clock.now() - STALE_UPLOAD_MS - 1000) / 1000;
  utimesSync(old, longAgo, longAgo);
  await pass(TOUCH_MS, cache);
  expect([old, young].map((draft) => existsSync(draft))).toEqual([false, true]);
});

it('a cache that is not there yet is empty', async () => {
  const cache = openCache();
  rmSync(folder.path, { recursive: true });
  await cache.tend();
});

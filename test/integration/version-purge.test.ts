/**
 * Purging versions: what is needed stays, what is gone gives back all it had, and who comes too late brings nothing back.
 */
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { NO_LINES } from '../../shared/contract/batch.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import type { JobSpec } from '../../shared/contract/job.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import { MAX_KEPT } from '../../shared/core/jobs/prediction-cache.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { agedBlobs, type OpenedStore, openBucket, openFolder } from '../support/blob-stores.js';
import { idleConnections } from '../support/connections.js';
import { keysThatName } from '../support/deleted-models.js';
import { newJobSpec } from '../support/job-specs.js';
import { settleJobs, startJobs } from '../support/turns.js';

const SHARE = { maxInstances: 4, maxBytes: 1e6 };
const END = { error: null, usageMs: 1, timings: null };
const OUTPUT = { inline: Buffer.from('out'), blob: null };
const MODEL = 'gone-model';
const HOUR_MS = 3_600_000;

let redis: Redis;
let opened: OpenedStore;
let core: Core;
let prefix: string;
/** The queues that were dropped. */
let dropped: string[];

beforeEach(async () => {
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  await open(openFolder);
});
afterEach(async () => {
  const left = await redis.keys(`${prefix}:*`);
  if (left.length > 0) await redis.unlink(left);
  redis.disconnect();
  await opened.close();
});

async function open(openStore: () => Promise<OpenedStore>): Promise<void> {
  opened = await openStore();
  prefix = `{purge-${newId('req', 0).slice(-10)}}`;
  dropped = [];
  const transport = {
    add: async () => undefined,
    count: async () => 0,
    drop: async (model: string, version: number) => {
      dropped.push(`${model}@${version}`);
      return ['t1'];
    },
  };
  const config = { ...loadConfig({}), SLUICE_KEY_PREFIX: prefix, SLUICE_DATA_DIR: opened.folder };
  core = composeCore(config, idleConnections(redis, opened.store, { transport }));
}

const named = () => keysThatName(redis, prefix, MODEL);
const blobs = async (folder = 'models/') => {
  const found: string[] = [];
  for await (const { key } of opened.store.list(folder)) found.push(key);
  return found.sort();
};

async function add(version: number, content = `weights ${version}`): Promise<void> {
  const blob = Buffer.from(content);
  const stored = await opened.store.put('probe', blob);
  await opened.store.delete('probe');
  const manifest = { name: MODEL, version, files: { w: stored.sha256 } } as unknown as Manifest;
  const owner = { manifest, blobs: core.versionBlobs.newFolder() };
  await core.versionBlobs.put(owner, stored.sha256, blob);
  expect(await core.models.add({ manifest, sizeBytes: blob.length }, owner.blobs)).toBe(true);
  await core.models.report(MODEL, version, 'ready');
}

function newJob(version = 1, more: Partial<JobSpec> = {}) {
  const spec = newJobSpec({ model: MODEL, version, ...more });
  return { spec, ttlSeconds: 60, input: Buffer.from('in') };
}

const newBatch = () => ({
  id: newId('batch', Date.now()),
  tenant: 'acme',
  model: MODEL,
  version: 1,
  alias: null,
  metadata: {},
  inputFile: 'file_in',
  outputFile: 'file_out',
  errorFile: 'file_err',
});

async function start() {
  const [started] = await startJobs(core, MODEL, 1, 't1', SHARE);
  if (!started) throw new Error('Nothing was started.');
  const { input: _, ...job } = started;
  return job;
}

const settle = (job: Awaited<ReturnType<typeof start>>) =>
  settleJobs(core, MODEL, 1, [{ job, end: END, output: OUTPUT }]);
const purge = () => core.versionPurge.purgeVersion(MODEL, 1);

describe('a retired version', () => {
  beforeEach(async () => {
    await add(1);
    await add(2);
  });

  it('is purged by upkeep when its time is over, and not before', async () => {
    await core.models.retire(MODEL, 1, 60_000);
    expect(await core.versionPurge.tend()).toBe(0);
    expect((await core.models.read(MODEL))?.versions.map(({ deletedAfter }) => deletedAfter)).toEqual([
      null,
      expect.closeTo(Date.now() + 60_000, -4),
    ]);
    await core.models.retire(MODEL, 1, 600_000);
    await core.models.retire(MODEL, 1, 0);
    expect(await core.versionPurge.tend()).toBe(1);
    expect(await core.models.read(MODEL)).toMatchObject({
      purged: [1],
      versions: [{ manifest: { version: 2 } }],
    });
    expect(await blobs()).toHaveLength(1);
    expect(dropped).toEqual([`${MODEL}@1`]);
  });

  it('stays for ever where no time is said', async () => {
    await core.models.retire(MODEL, 1, null);
    expect(await redis.exists(core.keys.purges)).toBe(0);
  });

  it('stays while a job of it waits, runs, or pauses before another attempt', async () => {
    await core.jobWriter.write(newJob());
    await core.models.retire(MODEL, 1, 0);
    expect(await purge(), 'queued').toBe(false);
    const first = await start();
    expect(await purge(), 'running').toBe(false);
    const unavailable = { code: 'unavailable', message: 'm', retryable: true } as const;
    const failed = [{ job: first, end: { ...END, error: unavailable }, output: null }];
    expect(await settleJobs(core, MODEL, 1, failed)).toEqual(['retried']);
    expect(await redis.zcard(core.keys.waiting(MODEL, 1)), 'it stands in no queue').toBe(0);
    expect(await purge(), 'pausing').toBe(false);
    await core.jobs.cancel('acme', first.spec.id);
    expect(await purge(), 'canceled').toBe(true);
    expect(await purge(), 'again').toBe(true);
  });

  it('stays while a batch of it is open, whose lines it still takes', async () => {
    const spec = newBatch();
    await core.batches.create(spec, 60);
    await core.models.retire(MODEL, 1, 0);
    expect(await purge()).toBe(false);
    await core.jobWriter.write(newJob(1, { untold: true }));
    await settle(await start());
    expect(await purge(), 'after a line').toBe(false);
    const taken = await core.batches.take(spec.id);
    if (!taken) throw new Error('The batch has ended.');
    const files = { output: false, errors: false };
    await core.batches.finish(taken, 'completed', { files, error: null, firstFailure: null });
    expect(taken.counts).toEqual(NO_LINES);
    expect(await purge()).toBe(true);
  });

  it('takes no job and no batch of who has not heard of it', async () => {
    await core.models.retire(MODEL, 1, 0);
    const refused = { code: 'version_retired' };
    await expect(core.jobWriter.write(newJob())).rejects.toMatchObject(refused);
    await expect(core.batches.create(newBatch(), 60)).rejects.toMatchObject(refused);
    await purge();
    for (const untold of [undefined, true] as const)
      await expect(core.jobWriter.write(newJob(1, untold && { untold }))).rejects.toMatchObject({
        ...refused,
        message: expect.stringContaining('was purged'),
      });
    await expect(core.batches.create(newBatch(), 60)).rejects.toMatchObject(refused);
    expect(
      (await redis.keys(`${prefix}:*`)).filter((key) => /:(job|batch|waiting|queue):/.test(key)),
    ).toEqual([]);
  });

  it('that is bundled again under its number serves again', async () => {
    await core.models.retire(MODEL, 1, 0);
    await purge();
    const manifest = { name: MODEL, version: 1, files: { w: 'x' } } as unknown as Manifest;
    await core.models.register({ manifest, sizeBytes: 1 });
    const states = (await core.models.read(MODEL))?.versions.map(({ state }) => state);
    expect(states).toEqual(['ready', 'pending']);
    await core.jobWriter.write(newJob());
    expect(await purge(), 'it is not retired').toBe(false);
  });
});

describe('a model that is deleted', () => {
  it('waits for its jobs, then leaves nothing but its highest number', async () => {
    await add(1);
    await add(5);
    await core.queueStatus.pause(MODEL);
    await core.models.moveAlias(MODEL, 'live', {
      version: 1,
      canary: { version: 5, percent: 5 },
      shadow: { version: 5, percent: 5 },
    });
    await core.jobWriter.write(newJob());
    await core.crashBlocklist.add(MODEL, 1, ['hash']);
    await redis.hset(core.keys.versionOutcomes(MODEL, 1), { failed: 1 });
    await redis.sadd(core.keys.taken(MODEL, 1, 't1'), 'job_left');
    expect(await core.models.remove(MODEL)).toBe(true);
    expect(await core.versionPurge.purgeModel(MODEL)).toBe(false);
    await expect(core.models.resolve(MODEL)).rejects.toMatchObject({ code: 'model_not_found' });
    await core.queueStatus.resume(MODEL, [1]);
    const job = await start();
    await core.predictionCache.keep({ ...job.spec, cache: { hash: 'h', seconds: 60 } }, OUTPUT.inline);
    await settle(job);
    await core.jobs.erase('acme', job.spec.id);
    for (let rounds = 0; rounds < 2; rounds++) {
      await core.versionPurge.tend();
      await redis.zadd(core.keys.purges, 'XX', 0, MODEL, 0, `${MODEL}@1`, 0, `${MODEL}@5`);
    }
    await core.versionPurge.tend();
    expect(await named()).toEqual(['version-numbers']);
    expect(await redis.hgetall(core.keys.versionNumbers)).toEqual({ [MODEL]: '5' });
    expect(await blobs('')).toEqual([]);
    expect(await core.models.numbers(MODEL)).toMatchObject({ next: 6 });
  });

  it('that was purged by somebody else meanwhile is gone', async () => {
    await add(1);
    expect(await core.models.remove(MODEL)).toBe(true);
    const gone = await Promise.all([1, 2, 3].map(() => core.versionPurge.purgeModel(MODEL)));
    expect(gone).toContain(true);
    expect(await core.versionPurge.purgeModel(MODEL)).toBe(true);
    expect(await core.models.remove(MODEL)).toBe(false);
  });

  it('goes later when the store of its files fails now', async () => {
    await add(1);
    await core.models.remove(MODEL);
    const remove = opened.store.delete;
    opened.store.delete = async () => {
      throw new Error('out of reach');
    };
    await expect(core.versionPurge.tend()).rejects.toThrow('out of reach');
    expect(await blobs()).toHaveLength(1);
    opened.store.delete = remove;
    await redis.zadd(core.keys.purges, 0, MODEL);
    await core.versionPurge.tend();
    expect(await blobs()).toEqual([]);
  });

  it('is brought back by nobody who slept meanwhile', async () => {
    await add(1);
    await core.jobWriter.write(newJob());
    const slept = await start();
    await core.jobs.cancel('acme', slept.spec.id);
    await core.models.remove(MODEL);
    expect(await core.versionPurge.purgeModel(MODEL)).toBe(true);
    await core.jobs.erase('acme', slept.spec.id);
    await redis.del(core.keys.purges);

    const cached = { ...slept.spec, cache: { hash: 'h', seconds: 60 } };
    const outcomes = core.versionOutcomes.startCounting((_, error) => {
      throw error;
    });
    outcomes.count(MODEL, 1, 'succeeded', null);
    await outcomes.close();
    await core.predictionCache.keep(cached, OUTPUT.inline);
    await core.models.report(MODEL, 1, 'ready');
    await core.queueStatus.pause(MODEL);
    expect(await startJobs(core, MODEL, 1, 't2', SHARE)).toEqual([]);
    expect(await settle(slept)).toEqual(['void']);
    for (const untold of [undefined, true] as const)
      await expect(core.jobWriter.write(newJob(1, untold && { untold }))).rejects.toMatchObject({
        code: 'model_not_found',
      });
    await expect(core.batches.create(newBatch(), 60)).rejects.toMatchObject({ code: 'model_not_found' });
    expect(await named()).toEqual(['version-numbers']);
  });

  it('takes no upload while it goes, and never a number again', async () => {
    await add(3);
    await core.jobWriter.write(newJob(3));
    await core.models.remove(MODEL);
    await expect(add(4)).rejects.toMatchObject({ code: 'model_deleting' });
    await startJobs(core, MODEL, 3, 't1', SHARE);
    for (const { spec } of (await core.jobs.list('acme', { limit: 9 })).records)
      await core.jobs.cancel('acme', spec.id);
    expect(await core.versionPurge.purgeModel(MODEL)).toBe(true);
    const manifest = { name: MODEL, version: 3, files: {} } as unknown as Manifest;
    expect(await core.models.add({ manifest, sizeBytes: 1 }, 'mdl_1')).toBe(false);
    await add(4);
  });
});

it('kept predictions of a version have a bound', async () => {
  await add(1);
  const answers = core.keys.answers(MODEL, 1);
  const many = Array.from({ length: MAX_KEPT }, (_, i) => [Date.now() + 1000 + i, `filler ${i}`]).flat();
  await redis.zadd(answers, ...many);
  const { spec } = newJob(1, { cache: { hash: 'h', seconds: 600 } });
  await core.predictionCache.keep(spec, OUTPUT.inline);
  expect(await redis.zcard(answers)).toBe(MAX_KEPT);
  expect(await redis.zscore(answers, 'filler 0'), 'the first to end').toBeNull();
  expect(await core.predictionCache.find(spec)).toEqual(OUTPUT.inline);
});

it.each([
  ['a folder', openFolder],
  ['a bucket', openBucket],
] as const)(
  'files of an upload that died are swept from %s, those of versions stay',
  async (_, openStore) => {
    await opened.close();
    await open(openStore);
    await add(1);
    const kept = await blobs();
    const manifest = { name: MODEL, version: 2, files: {} } as unknown as Manifest;
    const died = { manifest, blobs: core.versionBlobs.newFolder() };
    const { sha256 } = await opened.store.put('jobs/job_1/input', Buffer.from('bytes'));
    await core.versionBlobs.put(died, sha256, Buffer.from('bytes'));
    expect(await core.versionBlobs.sweep(), 'it may still be registered').toBe(0);
    const later = composeCore(
      { ...loadConfig({}), SLUICE_KEY_PREFIX: prefix },
      idleConnections(redis, agedBlobs(opened.store, HOUR_MS + 1000)),
    );
    expect(await later.versionBlobs.sweep()).toBe(1);
    expect(await blobs()).toEqual(kept);
  },
);

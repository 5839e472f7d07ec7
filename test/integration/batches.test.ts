/**
 * The record of a batch: which driver owns it, how lost batches are found again, and when a batch is deleted.
 */
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import type { BlobStore } from '../../shared/blobs/blobs.js';
import { type BatchSpec, NO_LINES } from '../../shared/contract/batch.js';
import { newId } from '../../shared/contract/ids.js';
import { partKey } from '../../shared/core/batches/batch-record.js';
import { createBatchUpkeep } from '../../shared/core/batches/batch-upkeep.js';
import { type Batches, createBatches, type TakenBatch } from '../../shared/core/batches/batches.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { createKeys, type Keys } from '../../shared/redis/keys.js';
import { agedBlobs, type OpenedStore, openFolder } from '../support/blob-stores.js';

const HOUR_MS = 3_600_000;

const PART = { token: '1', lastLine: 500, output: true, errors: false };
const NOTHING = { files: { output: false, errors: false }, error: null, firstFailure: null };
const counts = { ...NO_LINES, succeeded: 500 };

describe('the record of a batch', () => {
  let redis: Redis;
  let keys: Keys;
  let opened: OpenedStore;
  let batches: Batches;
  let called: string[];
  let fails: Error | null;
  const queue = {
    async add(id: string) {
      if (fails) throw fails;
      called.push(id);
    },
  };
  const upkeepOver = (blobs: BlobStore) => createBatchUpkeep({ redis, keys, blobs, queue });

  beforeEach(async () => {
    redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
    keys = createKeys(`{batches-${newId('req', 0).slice(-10)}}`);
    opened = await openFolder();
    called = [];
    fails = null;
    const limits = { maxBatchesPerTenant: 2, fileRetentionSeconds: 60 };
    batches = createBatches({ redis, keys, queue, limits, onError: () => undefined });
  });
  afterEach(async () => {
    const left = await redis.keys(`${keys.batches.replace(/:batches$/, '')}*`);
    if (left.length > 0) await redis.unlink(left);
    redis.disconnect();
    await opened.close();
  });

  const spec = (): BatchSpec => ({
    id: newId('batch', Date.now()),
    tenant: 'acme',
    model: 'mnist',
    version: 1,
    alias: null,
    metadata: {},
    inputFile: 'file_in',
    outputFile: 'file_out',
    errorFile: 'file_err',
  });
  const make = async () => (await batches.create(spec(), 3600)).record.spec.id;
  const take = async (id: string): Promise<TakenBatch> => {
    const taken = await batches.take(id);
    if (!taken) throw new Error('It has ended.');
    return taken;
  };
  const due = (id: string) => redis.zadd(keys.batches, 0, id);

  it('goes to the newest driver; an older one is told that it is lost, and writes nothing', async () => {
    const id = await make();
    const older = await take(id);
    expect(await batches.report(older, 700, NO_LINES)).toBe('go');
    expect(await batches.addPart(older, 0, PART, counts)).toBe(true);
    const newer = await take(id);
    expect(newer).toMatchObject({ parts: [PART], counts, record: { total: 700, status: 'running' } });

    expect(await batches.report(older, 1, NO_LINES)).toBe('lost');
    expect(await batches.addPart(older, 1, PART, counts)).toBe(false);
    expect(await batches.finish(older, 'completed', NOTHING)).toBe(false);
    // A part whose place is taken is refused too.
    expect(await batches.addPart(newer, 0, { ...PART, token: '2' }, counts)).toBe(false);
    expect(await batches.get('acme', id)).toMatchObject({ status: 'running', total: 700, counts });

    expect(
      await batches.finish(newer, 'completed', { ...NOTHING, files: { output: true, errors: false } }),
    ).toBe(true);
    expect(await batches.get('acme', id)).toMatchObject({ status: 'completed', files: { output: true } });
    expect(await batches.take(id)).toBeNull();
    expect(await batches.report(newer, 1, NO_LINES)).toBe('lost');
  });

  it('that is being canceled ends canceled, however far it came', async () => {
    const id = await make();
    const taken = await take(id);
    expect((await batches.cancel('acme', id))?.status).toBe('canceling');
    expect(await batches.report(taken, 1, NO_LINES)).toBe('cancel');
    await batches.finish(taken, 'completed', NOTHING);
    expect((await batches.cancel('acme', id))?.status).toBe('canceled');
  });

  it('expires by the clock of Redis', async () => {
    const { record } = await batches.create(spec(), 1);
    const taken = await take(record.spec.id);
    expect(await batches.report(taken, 1, NO_LINES)).toBe('go');
    await redis.hset(keys.batch(record.spec.id), 'expiresAt', taken.now - 1);
    expect(await batches.report(taken, 1, NO_LINES)).toBe('expire');
  });

  it('whose message was lost is called again by upkeep, and forgotten when its time is over', async () => {
    fails = new Error('Redis is away.');
    const id = await make();
    expect(called).toEqual([]);
    fails = null;
    const upkeep = upkeepOver(opened.store);
    expect(await upkeep.tend()).toBe(0);
    await due(id);
    expect(await upkeep.tend()).toBe(1);
    expect(called).toEqual([id]);

    await batches.finish(await take(id), 'completed', NOTHING);
    await upkeep.tend();
    expect(await batches.get('acme', id)).not.toBeNull();
    await due(id);
    await upkeep.tend();
    expect(await batches.get('acme', id)).toBeNull();
    expect(await batches.list('acme', 10)).toEqual({ records: [], nextCursor: null });
    expect(await redis.keys(`${keys.batch('')}*`)).toEqual([]);
  });

  it('counts as open until it has ended', async () => {
    const first = await make();
    await make();
    await expect(make()).rejects.toMatchObject({ code: 'too_many_batches' });
    await batches.finish(await take(first), 'failed', NOTHING);
    await make();
  });

  it('leaves old parts to the sweep once it has ended; those of an open one stay', async () => {
    const [open, ended] = [await make(), await make()];
    await batches.finish(await take(ended), 'completed', NOTHING);
    for (const id of [open, ended, newId('batch', 0)])
      await opened.store.put(partKey(id, 0, '1', 'output'), Buffer.from('{}\n'));
    const aged = (ms: number) => agedBlobs(opened.store, ms);
    expect(await upkeepOver(aged(HOUR_MS - 60_000)).sweep()).toBe(0);
    expect(await upkeepOver(aged(HOUR_MS + 60_000)).sweep()).toBe(2);
    expect(await opened.store.get(partKey(open, 0, '1', 'output'))).not.toBeNull();
  });
});

/**
 * Files between Redis and the blob store: what is left when something fails in between, and what the sweep finds.
 */
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import type { BlobStore } from '../../shared/blobs/blobs.js';
import { newId } from '../../shared/contract/ids.js';
import { createSignedAddresses } from '../../shared/core/access/signed-addresses.js';
import { createFiles, type Files } from '../../shared/core/files/files.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { createKeys, type Keys } from '../../shared/redis/keys.js';
import { agedBlobs, type OpenedStore, STORES } from '../support/blob-stores.js';
import { createManualClock, type ManualClock } from '../support/manual-clock.js';

const HOUR_MS = 3_600_000;

describe.each(STORES)('files in %s', (_, openStore) => {
  let opened: OpenedStore;
  let redis: Redis;
  let keys: Keys;
  let clock: ManualClock;
  let files: Files;
  const filesOver = (blobs: BlobStore, retentionSeconds = 60) => {
    const signedAddresses = createSignedAddresses({ redis, keys, clock });
    return createFiles({ redis, keys, blobs, signedAddresses, clock, retentionSeconds });
  };

  beforeEach(async () => {
    opened = await openStore();
    redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
    keys = createKeys(`{files-${newId('req', 0).slice(-10)}}`);
    clock = createManualClock(Date.now());
    files = filesOver(opened.store);
  });
  afterEach(async () => {
    const left = await redis.keys(`${keys.files.replace(/:files$/, '')}*`);
    if (left.length > 0) await redis.unlink(left);
    redis.disconnect();
    await opened.close();
  });

  const make = (content: string, tenant = 'acme') =>
    files.create(tenant, { contentType: 'a/b', filename: null, content: Buffer.from(content) });
  async function stored(): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of opened.store.list('')) found.push(key);
    return found;
  }
  const aged = (ms: number) => agedBlobs(opened.store, ms);

  it('an old blob without a record is swept; a young one and one with a record stay', async () => {
    const { record } = await make('kept');
    await opened.store.put(`files/${newId('file', 0)}`, Buffer.from('orphan'));
    await opened.store.put('jobs/x/input', Buffer.from('not a file'));
    expect(await filesOver(aged(HOUR_MS - 60_000)).sweep()).toBe(0);
    expect(await filesOver(aged(HOUR_MS + 60_000)).sweep()).toBe(1);
    expect((await stored()).sort()).toEqual([record.key, 'jobs/x/input']);
  });

  it('nothing is left of content that fails', async () => {
    const content = Readable.from(
      (function* () {
        yield Buffer.from('a');
        throw new Error('cut');
      })(),
    );
    const making = files.create('acme', { contentType: 'a/b', filename: null, content });
    await expect(making).rejects.toThrow('cut');
    expect(await stored()).toEqual([]);
    expect((await files.list('acme', 10)).records).toEqual([]);
  });

  it('a file whose blob cannot be deleted is gone all the same, and swept later', async () => {
    const { record } = await make('x');
    const failing = { ...opened.store, delete: () => Promise.reject(new Error('cut')) };
    expect(await filesOver(failing).remove('acme', record.id)).toBe(true);
    expect(await files.get('acme', record.id)).toBeNull();
    expect(await filesOver(aged(HOUR_MS + 60_000)).sweep()).toBe(1);
    expect(await stored()).toEqual([]);
  });

  it('an expired file does not exist, also before it is forgotten', async () => {
    const { record } = await make('x');
    const address = signatureOf(await files.urlOf(record));
    await clock.advance(60_000);
    expect(await files.get('acme', record.id)).toBeNull();
    expect(await files.findSigned(record.id, address)).toBeNull();
    expect((await files.list('acme', 10)).records).toEqual([]);
    expect(await files.remove('acme', record.id)).toBe(false);
    await redis.zadd(keys.files, 1, record.id);
    expect(await files.forgetExpired()).toBe(1);
    expect(await stored()).toEqual([]);
    expect(await redis.keys(`${keys.file('')}*`)).toEqual([]);
  });

  it('an address works in every process until its hour is over', async () => {
    const long = () => filesOver(opened.store, 7200);
    const content = Buffer.from('x');
    const { record } = await long().create('acme', { contentType: 'a/b', filename: null, content });
    const address = signatureOf(await long().urlOf(record));
    expect(await long().findSigned(record.id, address)).toEqual(record);
    await clock.advance(3_599_000);
    expect(await long().findSigned(record.id, address)).toEqual(record);
    await clock.advance(2000);
    await expect(long().findSigned(record.id, address)).rejects.toMatchObject({ code: 'link_expired' });
    await expect(long().findSigned(record.id, { ...address, signature: 'x' })).resolves.toBeNull();
  });
});

/** "/v1/files/…?expires=…&signature=…" */
function signatureOf(url: string): Record<string, string> {
  return Object.fromEntries(new URL(url, 'http://127.0.0.1').searchParams);
}

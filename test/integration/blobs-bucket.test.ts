/**
 * The faults that only a bucket has: the network fails, and the server refuses.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Clock, systemClock } from '../../shared/base/clock.js';
import type { BlobStore } from '../../shared/blobs/blobs.js';
import { openS3Blobs } from '../../shared/blobs/s3.js';
import { type OpenedBucket, openBucket } from '../support/blob-stores.js';

const BYTES = Buffer.alloc(3_000_000, 7);
const BUSY = { status: 503, code: 'SlowDown' };
const unavailable = (message: RegExp) =>
  expect.objectContaining({
    code: 'unavailable',
    message: expect.stringMatching(message),
    cause: expect.any(Error),
  });

let opened: OpenedBucket;

async function drain(store: BlobStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys;
}

const CALLS: [name: string, call: (store: BlobStore) => Promise<unknown>][] = [
  ['put of a buffer', (store) => store.put('a', BYTES)],
  ['put of a stream', (store) => store.put('a', Readable.from([BYTES]))],
  ['get', (store) => store.get('there')],
  ['open', async (store) => (await store.open('there'))?.stream.destroy()],
  ['delete', (store) => store.delete('there')],
  ['list', drain],
];

beforeEach(async () => {
  opened = await openBucket();
  await opened.store.put('there', Buffer.from('there'));
  opened.server.requests.length = 0;
});
afterEach(() => opened.close());

describe('what is sent', () => {
  it.each([
    ['a buffer', () => BYTES],
    ['a stream', () => Readable.from([BYTES])],
  ])('%s: one request, signed with its hash, under the prefix, with its type', async (_, content) => {
    await opened.store.put('x/y', content(), { contentType: 'image/png' });
    const sha256 = createHash('sha256').update(BYTES).digest('hex');
    expect(opened.server.requests).toMatchObject([
      { method: 'PUT', key: 'some/prefix/x/y', headers: { 'x-amz-content-sha256': sha256 } },
    ]);
    expect(opened.server.objects.get('some/prefix/x/y')?.contentType).toBe('image/png');
  });

  it('never goes beyond the prefix', async () => {
    opened.server.objects.set('some/other', {
      body: Buffer.of(1),
      contentType: undefined,
      lastModifiedMs: 0,
    });
    expect(await drain(opened.store)).toEqual(['there']);
  });

  it('keeps a stream in a file without a name', async () => {
    const spool = join(opened.folder, 'spool');
    let names: string[] = ['not looked'];
    async function* source() {
      yield BYTES;
      names = readdirSync(spool);
    }
    await opened.store.put('a', source());
    expect(names).toEqual([]);
    expect(readdirSync(spool)).toEqual([]);
  });
});

describe('credentials', () => {
  afterEach(() => void vi.unstubAllEnvs());

  const unset = { SLUICE_BLOBS_ACCESS_KEY: undefined, SLUICE_BLOBS_SECRET_KEY: undefined };

  it('are valid for the region that is configured', async () => {
    const far = await openBucket({ SLUICE_BLOBS_REGION: 'eu-central-1' });
    await far.store.get('there');
    expect(far.server.requests[0]?.headers.authorization).toContain('/eu-central-1/s3/aws4_request');
    await far.close();
  });

  it('come from where the AWS SDK finds them if none are configured', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', opened.server.credentials.accessKeyId);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', opened.server.credentials.secretAccessKey);
    const found = await openBucket(unset);
    await found.store.get('there');
    await found.close();
  });

  it('that are nowhere to be found are told as such, at once', async () => {
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE'])
      vi.stubEnv(name, undefined);
    for (const name of ['AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE']) vi.stubEnv(name, '/nowhere');
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    const lost = await openBucket(unset);
    await expect(lost.store.get('there')).rejects.toEqual(unavailable(/has no credentials/));
    expect(lost.pausesMs).toEqual([]);
    await lost.close();
  });
});

describe('a server in trouble', () => {
  it.each(CALLS)('%s works on the third attempt, after pauses that grow', async (_, call) => {
    opened.server.fail(BUSY, { status: 500, code: 'InternalError' });
    await call(opened.store);
    const [first = 0, second = 0] = opened.pausesMs;
    expect(opened.pausesMs).toHaveLength(2);
    expect(first).toBeGreaterThanOrEqual(100);
    expect(second).toBeGreaterThanOrEqual(400);
    expect(second).toBeLessThanOrEqual(600);
  });

  it.each(CALLS)('%s gives up after three', async (_, call) => {
    opened.server.fail(BUSY, BUSY, BUSY, BUSY);
    await expect(call(opened.store)).rejects.toEqual(unavailable(/cannot be reached/));
    expect(opened.server.requests).toHaveLength(3);
  });

  it.each(CALLS)('%s says so when the server is down', async (_, call) => {
    await opened.server.close();
    await expect(call(opened.store)).rejects.toEqual(unavailable(/cannot be reached/));
    expect(opened.pausesMs).toHaveLength(2);
  });

  it.each(CALLS.slice(0, 2))('%s begins again when cut off in the middle', async (_, put) => {
    opened.server.fail('cut-upload', 'cut-upload');
    await put(opened.store);
    expect(BYTES.equals((await opened.store.get('a')) ?? Buffer.of())).toBe(true);
  });

  it.each(CALLS.slice(0, 2))('%s cut off each time leaves nothing', async (_, put) => {
    opened.server.fail('cut-upload', 'cut-upload', 'cut-upload');
    await expect(put(opened.store)).rejects.toEqual(unavailable(/cannot be reached/));
    expect(await drain(opened.store)).toEqual(['there']);
  });

  it('get begins again when the answer breaks off; a stream that breaks off ends in an error', async () => {
    await opened.store.put('a', BYTES);
    opened.server.fail('cut-download', 'cut-download');
    expect(BYTES.equals((await opened.store.get('a')) ?? Buffer.of())).toBe(true);
    opened.server.fail('cut-download');
    const blob = await opened.store.open('a');
    await expect(buffer(blob?.stream as Readable)).rejects.toThrow(/aborted|ECONNRESET/);
  });

  it('waits for a silent server within a bound', async () => {
    const store = openDirectly({ silenceTimeoutMs: 50 });
    opened.server.fail('silent', 'silent', 'silent');
    await expect(store.get('there')).rejects.toEqual(unavailable(/cannot be reached/));
    store.close();
  });
});

describe('a server that says no', () => {
  it.each(CALLS)('%s with wrong credentials fails at once', async (_, call) => {
    const wrong = await openBucket({ SLUICE_BLOBS_SECRET_KEY: 'wrong' });
    await expect(call(wrong.store)).rejects.toEqual(unavailable(/refuses our credentials/));
    expect(wrong.server.requests).toHaveLength(1);
    await wrong.close();
  });

  it.each(CALLS)('%s without a bucket is a failure, not a missing blob', async (_, call) => {
    const lost = await openBucket({ SLUICE_BLOBS: 's3://no-such-bucket' });
    await expect(call(lost.store)).rejects.toEqual(unavailable(/no such bucket/));
    await lost.close();
  });

  it.each([
    { status: 507, code: 'XMinioStorageFull' },
    { status: 403, code: 'QuotaExceeded' },
  ])('is full: $status $code', async (fault) => {
    opened.server.fail(fault);
    await expect(opened.store.put('a', BYTES)).rejects.toEqual(unavailable(/is full/));
    expect(opened.server.requests).toHaveLength(1);
    expect(await opened.store.get('a')).toBeNull();
  });

  it('tells callers nothing of host, bucket or keys', async () => {
    opened.server.fail({ status: 403, code: 'AccessDenied' });
    const error: Error = await opened.store.get('there').then(
      () => expect.unreachable(),
      (error) => error,
    );
    expect(error.message).toBe('The blob store refuses our credentials.');
    expect(error.cause).toMatchObject({ name: 'AccessDenied' });
  });
});

it('notices an answer that is no S3 at all', async () => {
  const server = createServer((_, response) => void response.writeHead(200).end('<html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const store = openDirectly({ endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  await expect(drain(store)).rejects.toEqual(unavailable(/cannot be reached/));
  store.close();
  server.close();
});

function openDirectly(changes: { silenceTimeoutMs?: number; clock?: Clock; endpoint?: string }): BlobStore {
  const { server, folder } = opened;
  return openS3Blobs({
    bucket: server.bucket,
    prefix: 'some/prefix/',
    region: 'us-east-1',
    endpoint: server.endpoint,
    credentials: server.credentials,
    spoolFolder: folder,
    clock: { ...systemClock, after: (_, act) => systemClock.after(0, act) },
    ...changes,
  });
}

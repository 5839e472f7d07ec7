/**
 * Files that callers have uploaded: each is a record in Redis and a blob `files/<id>`.
 *
 *   nothing -> blob -> blob and record (the file exists) -> blob -> nothing
 *
 * The blob is written whole before the record, and the record is removed before the blob, so that no record lacks its bytes.
 * A process that dies in between leaves a blob that nobody can see, and `sweep` removes it. Another tenant's file does not
 * exist, and neither does a file that has expired.
 */
import type { Clock } from '../../base/clock.js';
import { sha256Of } from '../../base/hash.js';
import type { BlobContent, BlobStore, ByteRange, OpenedBlob } from '../../blobs/blobs.js';
import { SluiceError } from '../../contract/errors.js';
import type { FileRecord } from '../../contract/file.js';
import { isId, newId } from '../../contract/ids.js';
import { type GivenQuery, type Grant, MAX_ADDRESS_SECONDS } from '../../contract/signed-address.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { redisNow } from '../../redis/redis-time.js';
import type { SignedAddresses } from '../access/signed-addresses.js';
import { type Idempotency, idempotencyValues } from '../idempotency.js';
import { type Page, readPage } from '../page.js';
import { sweepOrphans } from '../sweep-orphans.js';

export interface FilesDeps {
  redis: Redis;
  keys: Keys;
  blobs: BlobStore;
  signedAddresses: SignedAddresses;
  clock: Clock;
  retentionSeconds: number;
}

export interface NewFile {
  contentType: string;
  filename: string | null;
  content: BlobContent;
}

/** Times in milliseconds since the Unix epoch. */
export interface KeptFile extends NewFile {
  id: string;
  tenant: string;
  expiresAt: number;
}

export type Files = ReturnType<typeof createFiles>;

const FOLDER = 'files/';
/** The most records that one call looks at. */
const PAGE = 100;

/** Returns the store of files. */
export function createFiles({ redis, keys, blobs, signedAddresses, clock, retentionSeconds }: FilesDeps) {
  const createFile = loadScript(redis, 'create-file');

  /**
   * Keeps a file that Sluice made itself, under an id that is known beforehand. Keeping it twice keeps one file.
   * @throws {SluiceError} `unavailable` when the blob store fails.
   */
  async function keep({ content, ...file }: KeptFile): Promise<FileRecord> {
    const key = `${FOLDER}${file.id}`;
    const { sizeBytes, sha256 } = await blobs.put(key, content, { contentType: file.contentType });
    const record = { ...file, key, bytes: sizeBytes, sha256, createdAt: clock.now() };
    await writeRecord(record);
    return record;
  }

  /**
   * Stores an upload. An error of the content passes through as it is, and leaves nothing behind.
   * @throws {SluiceError} `unavailable` when the blob store fails; `idempotency_key_reused` for a key that came with another
   *   file; `not_found` when the file of the key has gone meanwhile.
   */
  async function create(
    tenant: string,
    { contentType, filename, content }: NewFile,
    idempotencyKey = '',
  ): Promise<{ replayed: boolean; record: FileRecord }> {
    const id = newId('file', clock.now());
    const key = `${FOLDER}${id}`;
    const { sizeBytes, sha256 } = await blobs.put(key, content, { contentType });
    const createdAt = clock.now();
    const expiresAt = createdAt + retentionSeconds * 1000;
    const record = { id, tenant, key, bytes: sizeBytes, sha256, contentType, filename, createdAt, expiresAt };
    const fingerprint = sha256Of(JSON.stringify([sha256, contentType, filename]));
    const idempotency = idempotencyKey ? { route: 'files', key: idempotencyKey, fingerprint } : undefined;
    const [outcome, known = ''] = await writeRecord(record, idempotency);
    if (outcome === 'created') return { replayed: false, record };
    await discard(key);
    if (outcome === 'mismatch') throw new SluiceError('idempotency_key_reused');
    const replayed = await get(tenant, known);
    if (!replayed) throw new SluiceError('not_found', 'The file of this Idempotency-Key is no longer kept.');
    return { replayed: true, record: replayed };
  }

  function writeRecord(record: FileRecord, idempotency?: Idempotency): Promise<string[]> {
    const { id, tenant, expiresAt } = record;
    return createFile({
      fileKey: keys.file(id),
      tenantFilesKey: keys.tenantFiles(tenant),
      filesKey: keys.files,
      ...idempotencyValues(keys, tenant, idempotency, keys.file(id)),
      id,
      record: JSON.stringify(record),
      expiresAt,
    });
  }

  /** Returns a file of the tenant; null when it has none of this id. */
  async function get(tenant: string, id: string): Promise<FileRecord | null> {
    const record = await find(id);
    return record?.tenant === tenant ? record : null;
  }

  async function find(id: string): Promise<FileRecord | null> {
    if (!isId('file', id)) return null;
    const record = decode(await redis.get(keys.file(id)));
    return record && record.expiresAt > clock.now() ? record : null;
  }

  /** Returns a page of the tenant's files, newest first. */
  function list(tenant: string, limit: number, cursor?: string): Promise<Page<FileRecord>> {
    const index = keys.tenantFiles(tenant);
    return readPage(redis, { index, limit, cursor, read: (id) => get(tenant, id) });
  }

  /** Returns a stream of a file's bytes, all of them unless a range is given; null when they are gone. */
  const open = ({ key }: FileRecord, range?: ByteRange): Promise<OpenedBlob | null> => blobs.open(key, range);

  /** Returns all bytes of a file; null when they are gone. */
  const read = ({ key }: FileRecord): Promise<Buffer | null> => blobs.get(key);

  /** Removes a file; returns false when there is no such file. */
  async function remove(tenant: string, id: string): Promise<boolean> {
    const record = await get(tenant, id);
    if (!record) return false;
    await forget(record);
    return true;
  }

  async function forget({ id, tenant, key }: FileRecord): Promise<void> {
    await redis.multi().del(keys.file(id)).zrem(keys.tenantFiles(tenant), id).zrem(keys.files, id).exec();
    await discard(key);
  }

  /** Deletes a blob. The sweep deletes it when that fails now. */
  async function discard(key: string): Promise<void> {
    await blobs.delete(key).catch(() => undefined);
  }

  /** Returns path and query with which anybody can read the file for an hour, without an API key. */
  async function urlOf(record: FileRecord): Promise<string> {
    const { expires, signature } = await signedAddresses.sign(downloadOf(record), MAX_ADDRESS_SECONDS);
    return `/v1/files/${record.id}/content?expires=${expires}&signature=${signature}`;
  }

  /**
   * Returns the file of a signed address, of whichever tenant; null when there is none or the address is forged.
   * @throws {SluiceError} `link_expired`.
   */
  async function findSigned(id: string, query: GivenQuery): Promise<FileRecord | null> {
    const record = await find(id);
    return record && (await signedAddresses.allows(downloadOf(record), query)) ? record : null;
  }

  /** Forgets files whose time is over, at most `PAGE` of them; returns how many. */
  async function forgetExpired(): Promise<number> {
    const ids = await redis.zrangebyscore(keys.files, '-inf', await redisNow(redis), 'LIMIT', 0, PAGE);
    await Promise.all(
      ids.map(async (id) => {
        const record = decode(await redis.get(keys.file(id)));
        await (record ? forget(record) : redis.zrem(keys.files, id));
      }),
    );
    return ids.length;
  }

  /** Removes blobs that no record names; returns how many. */
  function sweep(): Promise<number> {
    const isKept = async (id: string) => (await redis.exists(keys.file(id))) === 1;
    return sweepOrphans({ redis, blobs, folder: FOLDER, isKept });
  }

  return { create, keep, get, list, open, read, remove, urlOf, findSigned, forgetExpired, sweep };
}

function downloadOf({ key, tenant }: FileRecord): Grant {
  return { act: 'download', key, tenant };
}

function decode(text: string | null): FileRecord | null {
  return text === null ? null : (JSON.parse(text) as FileRecord);
}

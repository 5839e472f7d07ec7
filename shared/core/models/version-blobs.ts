/**
 * The blobs of uploaded versions: `models/<model>/<id of the upload>/<sha256 of the file>`.
 *
 * Each upload has a folder of its own, named by the record of its version, so that a version that goes takes no file from
 * another. An upload that dies leaves a folder that no record names, and `sweep` removes it.
 */
import type { Clock } from '../../base/clock.js';
import type { BlobContent, BlobStore, OpenedBlob } from '../../blobs/blobs.js';
import { storeFailure } from '../../blobs/blobs.js';
import { newId } from '../../contract/ids.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { sweepOrphans } from '../sweep-orphans.js';
import type { StoredVersion } from './model-record.js';

export type VersionBlobs = ReturnType<typeof createVersionBlobs>;

/** The part of a version that tells where its blobs are. */
export type BlobOwner = Pick<StoredVersion, 'manifest' | 'blobs'>;

const FOLDER = 'models/';

/** Returns the store of versions' files. */
export function createVersionBlobs({
  redis,
  keys,
  blobs,
  clock,
}: {
  redis: Redis;
  keys: Keys;
  blobs: BlobStore;
  clock: Clock;
}) {
  /**
   * Stores a file, of which `sha256` was computed when it was received.
   * @throws {SluiceError} `unavailable`.
   */
  async function put(owner: BlobOwner, sha256: string, content: BlobContent): Promise<void> {
    const stored = await blobs.put(keyOf(owner, sha256), content);
    if (stored.sha256 !== sha256)
      throw storeFailure(new Error(`${sha256} has changed since it was received`));
  }

  /** Returns a file; null when it is gone. */
  function open(owner: BlobOwner, sha256: string): Promise<OpenedBlob | null> {
    return blobs.open(keyOf(owner, sha256));
  }

  /** Deletes all files of a version. Those of older releases lie in one folder and may be another's, so they stay. */
  async function drop(owner: BlobOwner): Promise<void> {
    if (owner.blobs === undefined) return;
    for (const sha256 of new Set(Object.values(owner.manifest.files)))
      await blobs.delete(keyOf(owner, sha256));
  }

  /** Removes files that no version names; returns how many. */
  function sweep(): Promise<number> {
    const isKept = async (path: string) => {
      const [model = '', folder] = path.split('/');
      return folder === undefined || (await redis.hexists(keys.model(model), `blobs:${folder}`)) === 1;
    };
    return sweepOrphans({ redis, blobs, folder: FOLDER, isKept });
  }

  return { newFolder: () => newId('mdl', clock.now()), put, open, drop, sweep };
}

function keyOf({ manifest: { name }, blobs }: BlobOwner, sha256: string): string {
  return blobs === undefined ? `${FOLDER}${sha256}` : `${FOLDER}${name}/${blobs}/${sha256}`;
}

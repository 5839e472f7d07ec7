/**
 * Removes blobs without an owner. A blob is written before the record that names it, and a process may die in between.
 */
import type { BlobStore } from '../blobs/blobs.js';
import type { Redis } from '../redis/connect.js';
import { redisNow } from '../redis/redis-time.js';

/** A younger blob may still get its record. */
export const ORPHAN_AGE_MS = 3_600_000;

export interface OrphanSweep {
  redis: Redis;
  blobs: BlobStore;
  /** The prefix of the keys to look at; it ends with a slash. */
  folder: string;
  /** Whether a record names the blob; `path` is its key without the folder. */
  isKept: (path: string) => Promise<boolean>;
}

/** Deletes the old blobs of a folder that no record names; returns how many. */
export async function sweepOrphans({ redis, blobs, folder, isKept }: OrphanSweep): Promise<number> {
  const now = await redisNow(redis);
  let removed = 0;
  for await (const { key, lastModifiedMs } of blobs.list(folder)) {
    if (lastModifiedMs > now - ORPHAN_AGE_MS || (await isKept(key.slice(folder.length)))) continue;
    await blobs.delete(key);
    removed++;
  }
  return removed;
}

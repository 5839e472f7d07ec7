/**
 * The stores that the blob tests run against: a folder, a bucket of the strict server in `s3-server.ts`, and the bucket
 * of SLUICE_BLOBS if that is set.
 */
import { join } from 'node:path';
import { type Clock, systemClock } from '../../shared/base/clock.js';
import type { BlobStore, ListedBlob } from '../../shared/blobs/blobs.js';
import { type BlobsConfig, openBlobs } from '../../shared/blobs/open.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import { openS3Server, type S3Server } from './s3-server.js';
import { temporaryFolder } from './started-redis.js';

export interface OpenedStore {
  store: BlobStore;
  config: BlobsConfig;
  /** The data folder. The files of the store, if it has any, are in its folder `blobs`. */
  folder: string;
  close(): Promise<void>;
}

export interface OpenedBucket extends OpenedStore {
  server: S3Server;
  /** The delays that retries asked for. In tests they do not wait. */
  pausesMs: number[];
}

export const STORES: [name: string, open: () => Promise<OpenedStore>][] = [
  ['a folder', openFolder],
  ['a bucket', openBucket],
];
if (loadConfig().SLUICE_BLOBS) STORES.push(['the bucket of SLUICE_BLOBS', openConfigured]);

export async function openFolder(): Promise<OpenedStore> {
  const folder = temporaryFolder();
  const config = { ...loadConfig({}), SLUICE_DATA_DIR: folder.path };
  const store = await openBlobs(config, systemClock);
  return { store, config, folder: folder.path, close: async () => folder.remove() };
}

export async function openBucket(changes: Partial<BlobsConfig> = {}): Promise<OpenedBucket> {
  const folder = temporaryFolder();
  const server = await openS3Server();
  const config = {
    ...loadConfig({}),
    SLUICE_DATA_DIR: folder.path,
    SLUICE_BLOBS: `s3://${server.bucket}/some/prefix`,
    SLUICE_BLOBS_ENDPOINT: server.endpoint,
    SLUICE_BLOBS_ACCESS_KEY: server.credentials.accessKeyId,
    SLUICE_BLOBS_SECRET_KEY: server.credentials.secretAccessKey,
    ...changes,
  };
  const pausesMs: number[] = [];
  const store = await openBlobs(config, hasty(pausesMs));
  const close = async () => {
    store.close();
    await server.close();
    folder.remove();
  };
  return { store, config, folder: folder.path, server, pausesMs, close };
}

async function openConfigured(): Promise<OpenedStore> {
  const folder = temporaryFolder();
  const prefix = `${loadConfig().SLUICE_BLOBS}/${newId('req', Date.now())}`;
  const config = { ...loadConfig(), SLUICE_DATA_DIR: folder.path, SLUICE_BLOBS: prefix };
  const store = await openBlobs(config, systemClock);
  const close = async () => {
    for await (const { key } of store.list('')) await store.delete(key);
    store.close();
    folder.remove();
  };
  return { store, config, folder: folder.path, close };
}

/** Returns a clock on which the delays of retries are recorded and pass at once. Longer times pass as usual. */
function hasty(pausesMs: number[]): Clock {
  return {
    ...systemClock,
    after(delayMs, act) {
      if (delayMs > 1000) return systemClock.after(delayMs, act);
      pausesMs.push(delayMs);
      return systemClock.after(0, act);
    },
  };
}

export function uploadsOf({ folder }: OpenedStore): string {
  return join(folder, 'blobs', 'uploads');
}

/** Returns the store as if all its blobs were older by the given time. */
export function agedBlobs(store: BlobStore, ageMs: number): BlobStore {
  return {
    ...store,
    async *list(prefix): AsyncGenerator<ListedBlob> {
      for await (const blob of store.list(prefix))
        yield { ...blob, lastModifiedMs: blob.lastModifiedMs - ageMs };
    },
  };
}

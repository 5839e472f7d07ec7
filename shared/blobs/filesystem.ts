/**
 * The blob store in a folder, for one machine or a volume that all processes share.
 *
 *     <folder>/<two digits of the key's SHA-256>/<the key, its slashes as commas>
 *     <folder>/uploads/<random name>  a put under way
 *
 * A put writes its own file, syncs it, renames it into place and syncs the folder of that place. Folders are made when first
 * needed and never removed, so no folder vanishes under a put. Modes are 0700 and 0600.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, opendir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { removeStale } from '../base/disk.js';
import { sha256Of } from '../base/hash.js';
import {
  type BlobContent,
  type BlobStore,
  type ByteRange,
  demandKey,
  demandPrefix,
  isBlobKey,
  type ListedBlob,
  type OpenedBlob,
  STALE_UPLOAD_MS,
  type StoredBlob,
} from './blobs.js';
import { fileFailure, nullIfMissing } from './file-failures.js';
import { keepError, writeHashed } from './hashed-write.js';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const SHARD = /^[0-9a-f]{2}$/;

/**
 * Opens the store, and makes the folder and its parents if they are missing.
 *
 * @throws {SluiceError} `unavailable` when the folder cannot be made
 */
export async function openFileBlobs(folder: string, clock: Clock): Promise<BlobStore> {
  const uploads = join(folder, 'uploads');
  await mkdir(uploads, { recursive: true, mode: FOLDER_MODE }).catch(fileFailure);

  async function put(key: string, content: BlobContent): Promise<StoredBlob> {
    demandKey(key);
    keepError(content);
    const upload = join(uploads, randomUUID());
    try {
      const stored = await writeDurably(upload, content);
      await publish(upload, key);
      return stored;
    } catch (error) {
      await rm(upload, { force: true }).catch(() => {}); // `sweep` tries again; the first error is thrown.
      throw error;
    }
  }

  async function publish(upload: string, key: string): Promise<void> {
    try {
      const shard = shardOf(folder, key);
      if (await mkdir(shard, { recursive: true, mode: FOLDER_MODE })) await syncFolder(folder);
      await rename(upload, pathOf(folder, key));
      await syncFolder(shard);
    } catch (error) {
      fileFailure(error);
    }
  }

  async function get(key: string): Promise<Buffer | null> {
    demandKey(key);
    return readFile(pathOf(folder, key)).catch(nullIfMissing);
  }

  async function openBlob(key: string, range?: ByteRange): Promise<OpenedBlob | null> {
    demandKey(key);
    const file = await open(pathOf(folder, key)).catch(nullIfMissing);
    if (!file) return null;
    const { size } = await statOrClose(file);
    const sizeBytes = range ? range.end - range.start + 1 : size;
    return { sizeBytes, stream: file.createReadStream(range) };
  }

  async function remove(key: string): Promise<void> {
    demandKey(key);
    await rm(pathOf(folder, key), { force: true }).catch(fileFailure);
  }

  async function* list(prefix: string): AsyncGenerator<ListedBlob> {
    demandPrefix(prefix);
    for (const shard of await readdir(folder).catch(fileFailure)) {
      if (!SHARD.test(shard)) continue;
      for await (const { name } of await opendir(join(folder, shard)).catch(fileFailure)) {
        const key = name.replaceAll(',', '/');
        if (!key.startsWith(prefix) || !isBlobKey(key)) continue;
        const found = await stat(join(folder, shard, name)).catch(nullIfMissing);
        if (found) yield { key, sizeBytes: found.size, lastModifiedMs: found.mtimeMs };
      }
    }
  }

  return {
    put,
    get,
    open: openBlob,
    delete: remove,
    list,
    sweep: () => removeStale(uploads, clock.now(), STALE_UPLOAD_MS).catch(fileFailure),
    close: () => {},
  };
}

function shardOf(folder: string, key: string): string {
  return join(folder, sha256Of(key).slice(0, 2));
}

function pathOf(folder: string, key: string): string {
  return join(shardOf(folder, key), key.replaceAll('/', ','));
}

async function writeDurably(path: string, content: BlobContent): Promise<StoredBlob> {
  const file = await open(path, 'wx', FILE_MODE).catch(fileFailure);
  try {
    const stored = await writeHashed(file, content);
    await file.sync().catch(fileFailure);
    return stored;
  } finally {
    await file.close().catch(fileFailure);
  }
}

/** Syncs a folder, so that a new name in it survives a power cut. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function statOrClose(file: FileHandle) {
  try {
    return await file.stat();
  } catch (error) {
    await file.close();
    return fileFailure(error);
  }
}

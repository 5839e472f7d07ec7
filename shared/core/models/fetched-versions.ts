/**
 * Fetched versions: the folders of uploaded versions on this machine, each under the hash of its files. Workers share them.
 *
 *   fetched -> in use -> unused for `UNUSED_MS` -> removed when no version has these files, or to keep the bound
 *
 * A worker touches what it uses every `TOUCH_MS`, so that the time of a folder tells all workers whether it is used, and which
 * was used last.
 *
 * Promises: a folder that `fetch` returns is whole and as it was uploaded, whoever fetches at the same time and whatever has
 * become of an older one. No folder is removed while a worker uses it. A worker that slept for longer fetches it anew.
 */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../base/clock.js';
import { exists, hashFile, pathsIn } from '../../base/disk.js';
import { STALE_UPLOAD_MS } from '../../blobs/blobs.js';
import type { Config } from '../../contract/config.js';
import type { Manifest } from '../../contract/models/manifest.js';
import { versionKey } from '../../contract/models/model-ref.js';
import { filesHash } from './model-record.js';
import type { Models } from './models.js';
import type { BlobOwner, VersionBlobs } from './version-blobs.js';

export interface FetchedVersionsDeps {
  versionBlobs: Pick<VersionBlobs, 'open'>;
  models: Pick<Models, 'list'>;
  clock: Clock;
  config: Pick<Config, 'SLUICE_CACHE_DIR' | 'SLUICE_VERSION_CACHE_BYTES'>;
}

export type FetchedVersions = ReturnType<typeof createFetchedVersions>;

/** The period in which a worker calls `tend`. */
export const TOUCH_MS = 10_000;
/** A folder that was touched within this time is used by some worker. */
export const UNUSED_MS = 3 * TOUCH_MS;

interface FetchedFolder {
  path: string;
  touchedMs: number;
  /** No worker uses it. */
  isUnused: boolean;
}

/** Returns the cache of one process, which uses nothing of it at first. */
export function createFetchedVersions({ versionBlobs, models, clock, config }: FetchedVersionsDeps) {
  const parent = join(config.SLUICE_CACHE_DIR, 'models');
  const maxBytes = config.SLUICE_VERSION_CACHE_BYTES;
  /** The folders that this process uses, by version. */
  const used = new Map<string, string>();
  /** The bytes of folders, which never change. */
  const sizes = new Map<string, number>();

  /**
   * Returns the folder of an uploaded version's files, which is in use from now on.
   * @throws {SluiceError} `unavailable` when the blob store cannot be read now.
   */
  async function fetch(owner: BlobOwner): Promise<string> {
    const { name, version, files } = owner.manifest;
    const folder = join(parent, filesHash(files));
    used.set(versionKey(name, version), folder);
    await touch(folder);
    if (await isWhole(folder, files)) return folder;
    const draft = join(parent, `.${randomUUID()}`);
    try {
      await fill(draft, owner);
      await rename(draft, folder).catch(async (error: unknown) => {
        if (!(await exists(folder))) throw error;
        // Another process was faster and may be reading the folder, or the folder is damaged. Moving file by file, none is ever missing.
        for (const path of Object.keys(files)) {
          await mkdir(dirname(join(folder, path)), { recursive: true });
          await rename(join(draft, path), join(folder, path));
        }
      });
      return folder;
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  async function fill(draft: string, owner: BlobOwner): Promise<void> {
    for (const [path, sha256] of Object.entries(owner.manifest.files)) {
      const blob = await versionBlobs.open(owner, sha256);
      if (!blob) throw new Error(`${path} is gone from the blob store`);
      await mkdir(dirname(join(draft, path)), { recursive: true });
      await pipeline(blob.stream, createWriteStream(join(draft, path)));
      // A damaged file would else be found while the version loads, which would fail the version for good.
      if ((await hashFile(join(draft, path))) !== sha256)
        throw new Error(`${path} in the blob store has other bytes than were stored`);
    }
  }

  /** Ends the use of the versions that are not served. */
  function release(isServed: (key: string) => boolean): void {
    for (const key of used.keys()) if (!isServed(key)) used.delete(key);
  }

  /** Touches what this process uses, and removes what nobody uses and no version has, or what there is no room for. */
  async function tend(): Promise<void> {
    await Promise.all([...used.values()].map(touch));
    const known = new Set<string>();
    for (const { versions } of await models.list())
      for (const { manifest } of versions) known.add(filesHash(manifest.files));
    const kept: FetchedFolder[] = [];
    for (const name of await readdir(parent).catch(() => [])) {
      const folder = await look(name);
      if (!folder) continue;
      if (folder.isUnused && !known.has(name)) await remove(folder.path);
      else if (!name.startsWith('.')) kept.push(folder);
    }
    if (maxBytes > 0) await makeRoom(kept);
  }

  async function look(name: string): Promise<FetchedFolder | null> {
    const path = join(parent, name);
    const found = await stat(path).catch(() => null);
    if (!found) return null;
    const unusedMs = name.startsWith('.') ? STALE_UPLOAD_MS : UNUSED_MS;
    const isUnused = clock.now() - found.mtimeMs > unusedMs && !isUsedHere(path);
    return { path, touchedMs: found.mtimeMs, isUnused };
  }

  /** Removes what was not used for the longest time, until the rest keeps the bound. */
  async function makeRoom(kept: readonly FetchedFolder[]): Promise<void> {
    let bytes = 0;
    for (const { path } of kept) bytes += await sizeOf(path);
    for (const { path, isUnused } of kept.toSorted((a, b) => a.touchedMs - b.touchedMs)) {
      if (bytes <= maxBytes) return;
      if (!isUnused || isUsedHere(path)) continue;
      bytes -= await sizeOf(path);
      await remove(path);
    }
  }

  function isUsedHere(path: string): boolean {
    return [...used.values()].includes(path);
  }

  async function touch(folder: string): Promise<void> {
    const nowSeconds = clock.now() / 1000;
    await utimes(folder, nowSeconds, nowSeconds).catch(() => undefined);
  }

  async function sizeOf(path: string): Promise<number> {
    const known = sizes.get(path);
    if (known !== undefined) return known;
    let bytes = 0;
    for (const file of await pathsIn(path).catch(() => []))
      bytes += (await stat(join(path, file)).catch(() => null))?.size ?? 0;
    sizes.set(path, bytes);
    return bytes;
  }

  /** Moves a folder away first, so that nobody finds a half of it. */
  async function remove(path: string): Promise<void> {
    sizes.delete(path);
    const gone = join(parent, `.${randomUUID()}`);
    await rename(path, gone).catch(() => undefined);
    await rm(gone, { recursive: true, force: true });
  }

  return { fetch, release, tend };
}

async function isWhole(folder: string, files: Manifest['files']): Promise<boolean> {
  for (const [path, sha256] of Object.entries(files)) {
    const found = await hashFile(join(folder, path)).catch(() => null);
    if (found !== sha256) return false;
  }
  return true;
}

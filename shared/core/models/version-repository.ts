/**
 * Uploaded versions: their files are blobs under their own hashes, and folders again wherever they are computed.
 *
 *   received (a folder of this process) -> checked -> stored -> registered        refused: nothing is left
 *
 * Promises: a version is registered only when all its files are stored, and never changes. A folder that `fetch` returns is
 * whole and as it was uploaded, whoever fetches at the same time and whatever has become of an older one. Files of retired
 * versions are kept, because jobs may still need them.
 */
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../base/clock.js';
import { exists, hashFile, removeStale } from '../../base/disk.js';
import type { BlobContent, BlobStore, StoredBlob } from '../../blobs/blobs.js';
import { STALE_UPLOAD_MS, storeFailure } from '../../blobs/blobs.js';
import { fileFailure } from '../../blobs/file-failures.js';
import { writeHashed } from '../../blobs/hashed-write.js';
import type { Config } from '../../contract/config.js';
import { invalid, SluiceError } from '../../contract/errors.js';
import { isContainedPath, type Manifest } from '../../contract/models/manifest.js';
import { isModelName } from '../../contract/models/model-ref.js';
import { escapePointer } from '../../contract/schema.js';
import { MODEL_FILE } from '../../model-packages/manifest.js';
import { filesHash } from './model-record.js';
import type { Models } from './models.js';
import { type QuantizeRequest, quantizeUpload } from './quantized-upload.js';
import { readUploadedManifest, type UploadedFiles } from './uploaded-manifest.js';

export interface VersionRepositoryDeps {
  blobs: BlobStore;
  models: Models;
  clock: Clock;
  /** Uploads under way lie in the data folder, fetched versions in the cache, which other processes may share. */
  config: Pick<Config, 'SLUICE_CACHE_DIR' | 'SLUICE_DATA_DIR'>;
}

export interface Upload {
  /**
   * Takes a file of the version. `path` is the caller's word, and an error of `content` passes through.
   * @throws {SluiceError} `invalid_input`, `unavailable`.
   */
  write(path: string, content: BlobContent): Promise<void>;
  /**
   * Makes a version of the files.
   * @throws {SluiceError} `invalid_input` with every fault that is found without computing, `version_exists`, `unavailable`.
   */
  finish(): Promise<{ name: string; version: number }>;
  /** Frees the files. The caller calls it at the end, after a failure too. */
  discard(): Promise<void>;
}

export type VersionRepository = ReturnType<typeof createVersionRepository>;

/** The most files of one version. */
export const MAX_FILES = 1000;
/** The largest model.json, which is read whole, in one turn of the event loop. */
const MAX_MODEL_FILE_BYTES = 32 * 1024 * 1024;
/** How often an upload takes the next number when another upload of the same model was faster. */
const MAX_TRIES = 20;
/** Errors of the file system that say that a path is taken. */
const TAKEN: ReadonlySet<unknown> = new Set(['EEXIST', 'ENOTDIR', 'EISDIR']);

/** Returns the repository of uploaded versions. */
export function createVersionRepository({ blobs, models, clock, config }: VersionRepositoryDeps) {
  const uploadsFolder = join(config.SLUICE_DATA_DIR, 'uploads');
  const fetchedFolder = join(config.SLUICE_CACHE_DIR, 'models');

  /**
   * Begins the upload of a version of the model `name`; `quantize` shrinks its weights.
   * @throws {SluiceError} `invalid_input` for a wrong name, `unavailable`.
   */
  async function receive(name: string, quantize?: QuantizeRequest): Promise<Upload> {
    if (!isModelName(name)) throw invalid([{ path: '/name', message: 'must be a lower-case name' }]);
    await mkdir(uploadsFolder, { recursive: true, mode: 0o700 }).catch(fileFailure);
    const folder = await mkdtemp(join(uploadsFolder, 'model-')).catch(fileFailure);
    const received = new Map<string, StoredBlob>();
    let count = 0;
    return {
      async write(path, content) {
        if (++count > MAX_FILES) throw invalid([{ path: '', message: `holds more than ${MAX_FILES} files` }]);
        const stored = await writeTo(folder, path, content);
        received.set(path, stored);
        if (path === MODEL_FILE && stored.sizeBytes > MAX_MODEL_FILE_BYTES)
          throw invalid([
            {
              path: `/${MODEL_FILE}`,
              message: `is larger than ${MAX_MODEL_FILE_BYTES} bytes without its weights`,
            },
          ]);
      },
      // Files arrive in any order; sorted, equal versions have equal hashes.
      finish: () =>
        admit(name, folder, new Map([...received].sort(([a], [b]) => (a < b ? -1 : 1))), quantize),
      discard: () => rm(folder, { recursive: true, force: true }).catch(fileFailure),
    };
  }

  async function admit(
    name: string,
    folder: string,
    received: UploadedFiles,
    quantize: QuantizeRequest | undefined,
  ): Promise<{ name: string; version: number }> {
    let prepared: { files: UploadedFiles; changes: Partial<Manifest> } | null = null;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const known = (await models.find(name))?.versions.map(({ manifest }) => manifest.version) ?? [];
      const checked = await readUploadedManifest(name, Math.max(0, ...known) + 1, folder, received);
      prepared ??= quantize
        ? await quantizeUpload(folder, checked, received, quantize)
        : { files: received, changes: {} };
      const { files, changes } = prepared;
      const manifest: Manifest = { ...checked, ...changes };
      const { version } = manifest;
      if (known.includes(version))
        throw new SluiceError('version_exists', `There is a version ${version} of ${name}.`);
      await store(folder, manifest, files);
      if (await models.add({ manifest, sizeBytes: sizeOf(manifest, files) })) return { name, version };
    }
    throw new SluiceError('unavailable', 'Too many versions of this model are uploaded at the same time.');
  }

  async function store(folder: string, { files }: Manifest, received: UploadedFiles): Promise<void> {
    for (const path of Object.keys(files)) {
      const sha256 = received.get(path)?.sha256 ?? '';
      const stored = await blobs.put(blobKey(sha256), createReadStream(join(folder, path)));
      if (stored.sha256 !== sha256)
        throw storeFailure(new Error(`${path} has changed since it was received`));
    }
  }

  /**
   * Returns the folder of an uploaded version's files.
   * @throws {SluiceError} `unavailable` when the blob store cannot be read now.
   */
  async function fetch({ files }: Manifest): Promise<string> {
    const folder = join(fetchedFolder, filesHash(files));
    if (await isWhole(folder, files)) return folder;
    const draft = join(fetchedFolder, `.${randomUUID()}`);
    try {
      for (const [path, sha256] of Object.entries(files)) {
        const blob = await blobs.open(blobKey(sha256));
        if (!blob) throw new Error(`${path} is gone from the blob store`);
        await mkdir(dirname(join(draft, path)), { recursive: true });
        await pipeline(blob.stream, createWriteStream(join(draft, path)));
        // A damaged file would else be found while the version loads, which would fail the version for good.
        if ((await hashFile(join(draft, path))) !== sha256)
          throw new Error(`${path} in the blob store has other bytes than were stored`);
      }
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

  /** Deletes the folders of uploads whose processes were killed long ago; what cannot be deleted now is left to the next start. */
  async function sweep(): Promise<void> {
    await removeStale(uploadsFolder, clock.now(), STALE_UPLOAD_MS).catch(() => undefined);
  }

  return { receive, fetch, sweep };
}

function sizeOf({ files }: Manifest, received: UploadedFiles): number {
  return Object.keys(files).reduce((sum, path) => sum + (received.get(path)?.sizeBytes ?? 0), 0);
}

async function isWhole(folder: string, files: Manifest['files']): Promise<boolean> {
  for (const [path, sha256] of Object.entries(files)) {
    const found = await hashFile(join(folder, path)).catch(() => null);
    if (found !== sha256) return false;
  }
  return true;
}

function blobKey(sha256: string): string {
  return `models/${sha256}`;
}

async function writeTo(folder: string, path: string, content: BlobContent): Promise<StoredBlob> {
  const refuse = (message: string) => invalid([{ path: `/${escapePointer(path)}`, message }]);
  if (!isContainedPath(path)) throw refuse('is not a path inside the folder of a version');
  const target = join(folder, path);
  const failed = (error: unknown): never => {
    if (TAKEN.has((error as { code?: unknown }).code)) throw refuse('is there already');
    return fileFailure(error);
  };
  await mkdir(dirname(target), { recursive: true }).catch(failed);
  const file = await open(target, 'wx').catch(failed);
  try {
    return await writeHashed(file, content);
  } finally {
    await file.close();
  }
}

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
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../base/clock.js';
import { exists, hashFile, removeStale } from '../../base/disk.js';
import type { BlobStore } from '../../blobs/blobs.js';
import { STALE_UPLOAD_MS, storeFailure } from '../../blobs/blobs.js';
import { fileFailure } from '../../blobs/file-failures.js';
import type { Config } from '../../contract/config.js';
import { type Fault, invalid, SluiceError } from '../../contract/errors.js';
import type { Manifest } from '../../contract/models/manifest.js';
import { isModelName } from '../../contract/models/model-ref.js';
import { filesHash } from './model-record.js';
import type { Models } from './models.js';
import { type QuantizeRequest, quantizeUpload } from './quantized-upload.js';
import { type ReceivedFiles, receiveFiles } from './received-files.js';
import { readUploadedManifest, type UploadedFiles } from './uploaded-manifest.js';

export interface VersionRepositoryDeps {
  blobs: BlobStore;
  models: Models;
  clock: Clock;
  /** Uploads under way lie in the data folder, fetched versions in the cache, which other processes may share. */
  config: Pick<Config, 'SLUICE_CACHE_DIR' | 'SLUICE_DATA_DIR'>;
}

export interface Upload extends ReceivedFiles {
  /**
   * Makes a version of the files.
   * @throws {SluiceError} `invalid_input` with every fault that is found without computing, `version_exists`, `unavailable`.
   */
  finish(): Promise<{ name: string; version: number }>;
  /** Frees the files. The caller calls it at the end, after a failure too. */
  discard(): Promise<void>;
}

export type VersionRepository = ReturnType<typeof createVersionRepository>;

/** How often an upload takes the next number when another upload of the same model was faster. */
const MAX_TRIES = 20;

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
    const files = receiveFiles(folder);
    return {
      ...files,
      finish: async () => {
        const { root, received, faults } = files.content();
        return admit(name, { folder: join(folder, root), received, faults }, quantize);
      },
      discard: () => rm(folder, { recursive: true, force: true }).catch(fileFailure),
    };
  }

  async function admit(
    name: string,
    { folder, received, faults }: { folder: string; received: UploadedFiles; faults: readonly Fault[] },
    quantize: QuantizeRequest | undefined,
  ): Promise<{ name: string; version: number }> {
    let prepared: { files: UploadedFiles; changes: Partial<Manifest> } | null = null;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const known = (await models.find(name))?.versions.map(({ manifest }) => manifest.version) ?? [];
      const next = Math.max(0, ...known) + 1;
      const checked = await readUploadedManifest({ name, next, folder, files: received, faults });
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

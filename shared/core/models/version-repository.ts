/**
 * Uploads of versions: their files become blobs (version-blobs.ts), and folders again wherever they are computed
 * (fetched-versions.ts).
 *
 *   received (a folder of this process) -> checked -> stored -> registered        refused: nothing is left
 *
 * Promises: a version is registered only when all its files are stored, and never changes. An upload that dies leaves nothing
 * that is not swept later.
 */
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.js';
import { removeStale } from '../../base/disk.js';
import { STALE_UPLOAD_MS } from '../../blobs/blobs.js';
import { fileFailure, nullIfMissing } from '../../blobs/file-failures.js';
import type { Config } from '../../contract/config.js';
import { type Fault, invalid, SluiceError } from '../../contract/errors.js';
import type { Manifest } from '../../contract/models/manifest.js';
import { isModelName } from '../../contract/models/model-ref.js';
import type { Models, VersionNumbers } from './models.js';
import { type QuantizeRequest, quantizeUpload } from './quantized-upload.js';
import { type ReceivedFiles, receiveFiles } from './received-files.js';
import { readUploadedManifest, type UploadedFiles } from './uploaded-manifest.js';
import type { BlobOwner, VersionBlobs } from './version-blobs.js';

export interface VersionRepositoryDeps {
  versionBlobs: VersionBlobs;
  models: Pick<Models, 'add' | 'find' | 'numbers'>;
  clock: Clock;
  /** Uploads under way lie in the data folder, which other processes may share. */
  config: Pick<Config, 'SLUICE_DATA_DIR'>;
}

export interface Upload extends ReceivedFiles {
  /**
   * Makes a version of the files.
   * @throws {SluiceError} `invalid_input` with every fault that is found without computing, `version_exists`, `model_deleting`,
   *   `unavailable`.
   */
  finish(): Promise<{ name: string; version: number }>;
  /** Frees the files. The caller calls it at the end, after a failure too. */
  discard(): Promise<void>;
}

export type VersionRepository = ReturnType<typeof createVersionRepository>;

/** How often an upload takes the next number when another upload of the same model was faster. */
const MAX_TRIES = 20;

/** Returns the repository of uploaded versions. */
export function createVersionRepository({ versionBlobs, models, clock, config }: VersionRepositoryDeps) {
  const uploadsFolder = join(config.SLUICE_DATA_DIR, 'uploads');
  /** The folders of this process' uploads. */
  const underWay = new Set<string>();

  /**
   * Begins the upload of a version of the model `name`; `quantize` shrinks its weights.
   * @throws {SluiceError} `invalid_input` for a wrong name, `model_deleting`, `unavailable`.
   */
  async function receive(name: string, quantize?: QuantizeRequest): Promise<Upload> {
    if (!isModelName(name)) throw invalid([{ path: '/name', message: 'must be a lower-case name' }]);
    await mkdir(uploadsFolder, { recursive: true, mode: 0o700 }).catch(fileFailure);
    if ((await models.find(name))?.deleting) throw new SluiceError('model_deleting');
    const folder = await mkdtemp(join(uploadsFolder, 'model-')).catch(fileFailure);
    underWay.add(folder);
    const files = receiveFiles(folder);
    return {
      ...files,
      finish: async () => {
        const { root, received, faults } = files.content();
        return admit(name, { folder: join(folder, root), received, faults }, quantize);
      },
      async discard() {
        underWay.delete(folder);
        await rm(folder, { recursive: true, force: true }).catch(fileFailure);
      },
    };
  }

  async function admit(
    name: string,
    { folder, received, faults }: { folder: string; received: UploadedFiles; faults: readonly Fault[] },
    quantize: QuantizeRequest | undefined,
  ): Promise<{ name: string; version: number }> {
    const blobs = versionBlobs.newFolder();
    let prepared: { files: UploadedFiles; changes: Partial<Manifest> } | null = null;
    let stored: BlobOwner | null = null;
    try {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const numbers = await models.numbers(name);
        const { next } = numbers;
        const checked = await readUploadedManifest({ name, next, folder, files: received, faults });
        demandFree(checked, numbers);
        prepared ??= quantize
          ? await quantizeUpload(folder, checked, received, quantize)
          : { files: received, changes: {} };
        const { files, changes } = prepared;
        const manifest: Manifest = { ...checked, ...changes };
        if (!stored) {
          stored = { manifest, blobs };
          await store(folder, stored);
        }
        const { version } = manifest;
        if (await models.add({ manifest, sizeBytes: sizeOf(manifest, files) }, blobs))
          return { name, version };
      }
      throw new SluiceError('unavailable', 'Too many versions of this model are uploaded at the same time.');
    } catch (error) {
      // After any other error the version may stand all the same, because only the answer of Redis was lost.
      if (stored && error instanceof SluiceError) await versionBlobs.drop(stored).catch(() => undefined);
      throw error;
    }
  }

  async function store(folder: string, owner: BlobOwner): Promise<void> {
    for (const [path, sha256] of Object.entries(owner.manifest.files))
      await versionBlobs.put(owner, sha256, createReadStream(join(folder, path)));
  }

  /**
   * Deletes the folders of uploads whose processes were killed long ago. Call it now and then: it keeps the folders of this
   * process from looking old.
   */
  async function sweep(): Promise<void> {
    const nowSeconds = clock.now() / 1000;
    await Promise.all(
      [...underWay].map((folder) => utimes(folder, nowSeconds, nowSeconds).catch(() => undefined)),
    );
    await removeStale(uploadsFolder, clock.now(), STALE_UPLOAD_MS).catch(nullIfMissing);
  }

  return { receive, sweep };
}

function demandFree({ name, version }: Manifest, { live, isGiven }: VersionNumbers): void {
  if (live.includes(version))
    throw new SluiceError('version_exists', `There is a version ${version} of ${name}.`);
  if (!isGiven(version)) return;
  const detail = `A version ${version} of ${name} was deleted, and no number is given twice. State a higher one, or none.`;
  throw new SluiceError('version_exists', detail);
}

function sizeOf({ files }: Manifest, received: UploadedFiles): number {
  return Object.keys(files).reduce((sum, path) => sum + (received.get(path)?.sizeBytes ?? 0), 0);
}

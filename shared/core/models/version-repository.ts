/**
 * Uploaded versions: their files are blobs under their own hashes, and folders again wherever they are computed.
 *
 *   received (a folder of this process) -> checked -> stored -> registered        refused: nothing is left
 *
 * Promises: a version is registered only when all its files are stored, and never changes; a folder that `fetch` answers is
 * whole and as it was uploaded, whoever fetches at the same time and whatever has become of an older one. Files of retired
 * versions are kept: jobs may still need them.
 */
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../base/clock.js';
import { exists, hashFile } from '../../base/disk.js';
import { messageOf } from '../../base/errors.js';
import type { BlobContent, BlobStore, StoredBlob } from '../../blobs/blobs.js';
import { STALE_UPLOAD_MS, storeFailure } from '../../blobs/blobs.js';
import { fileFailure } from '../../blobs/file-failures.js';
import { writeHashed } from '../../blobs/hashed-write.js';
import type { Config } from '../../contract/config.js';
import { type Fault, invalid, SluiceError } from '../../contract/errors.js';
import { isContainedPath, type Manifest, type Quantization } from '../../contract/models/manifest.js';
import { isModelName } from '../../contract/models/model-ref.js';
import { escapePointer } from '../../contract/schema.js';
import { MANIFEST_FILE, ManifestFault, MODEL_FILE, readManifest } from '../../model-packages/manifest.js';
import { QUANTIZED_WEIGHTS, quantizeWeights } from '../../model-packages/quantize.js';
import { checkTopology } from '../../model-packages/topology.js';
import { weightFaults } from '../../model-packages/weights.js';
import { filesHash } from './model-record.js';
import type { Models } from './models.js';

export interface VersionRepositoryDeps {
  blobs: BlobStore;
  models: Models;
  clock: Clock;
  /** Uploads under way lie in the data folder, fetched versions in the cache, which other processes may share. */
  config: Pick<Config, 'SLUICE_CACHE_DIR' | 'SLUICE_DATA_DIR'>;
}

export interface Upload {
  /** Takes a file of the version; `path` is the caller's word. An error of `content` passes through. */
  write(path: string, content: BlobContent): Promise<void>;
  /** Makes a version of what was written; throws every fault that is found without computing. */
  finish(): Promise<{ name: string; version: number }>;
  /** Frees what was written. Call it at the end, whatever that was. */
  discard(): Promise<void>;
}

export type QuantizeRequest = Pick<Quantization, 'dtype' | 'tolerance'>;

export type VersionRepository = ReturnType<typeof createVersionRepository>;

/** Of one version, however they come. */
export const MAX_FILES = 1000;
/** Of the topology and the list of weights: it is read whole, in one turn of the event loop. */
const MAX_MODEL_FILE_BYTES = 32 * 1024 * 1024;
/** Uploads of one model that take the same number at the same time. */
const MAX_TRIES = 20;
const TAKEN: ReadonlySet<unknown> = new Set(['EEXIST', 'ENOTDIR', 'EISDIR']);

export function createVersionRepository({ blobs, models, clock, config }: VersionRepositoryDeps) {
  const uploadsFolder = join(config.SLUICE_DATA_DIR, 'uploads');
  const fetchedFolder = join(config.SLUICE_CACHE_DIR, 'models');

  async function receive(name: string, quantize?: QuantizeRequest): Promise<Upload> {
    if (!isModelName(name)) throw invalid([{ path: '/name', message: 'must be a lower-case name' }]);
    await mkdir(uploadsFolder, { recursive: true, mode: 0o700 }).catch(fileFailure);
    const folder = await mkdtemp(join(uploadsFolder, 'model-')).catch(fileFailure);
    const written = new Map<string, StoredBlob>();
    let files = 0;
    return {
      async write(path, content) {
        if (++files > MAX_FILES) throw invalid([{ path: '', message: `holds more than ${MAX_FILES} files` }]);
        const stored = await writeTo(folder, path, content);
        written.set(path, stored);
        if (path === MODEL_FILE && stored.sizeBytes > MAX_MODEL_FILE_BYTES)
          throw invalid([
            {
              path: `/${MODEL_FILE}`,
              message: `is larger than ${MAX_MODEL_FILE_BYTES} bytes without its weights`,
            },
          ]);
      },
      // As they came is by chance: equal versions shall be equal.
      finish: () => admit(name, folder, new Map([...written].sort(([a], [b]) => (a < b ? -1 : 1))), quantize),
      discard: () => rm(folder, { recursive: true, force: true }).catch(fileFailure),
    };
  }

  async function admit(
    name: string,
    folder: string,
    received: ReadonlyMap<string, StoredBlob>,
    quantize: QuantizeRequest | undefined,
  ) {
    let prepared: Prepared | null = null;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const known = (await models.find(name))?.versions.map(({ manifest }) => manifest.version) ?? [];
      const next = Math.max(0, ...known) + 1;
      const checked = await checkedManifest(name, next, folder, received);
      prepared ??= quantize
        ? await quantized(folder, checked, received, quantize)
        : { written: received, changes: {} };
      const { written, changes } = prepared;
      const manifest: Manifest = { ...checked, ...changes };
      const isTaken = known.includes(manifest.version);
      if (isTaken)
        throw new SluiceError('version_exists', `There is a version ${manifest.version} of ${name}.`);
      await store(folder, manifest, written);
      const sizeBytes = Object.keys(manifest.files).reduce(
        (sum, path) => sum + (written.get(path)?.sizeBytes ?? 0),
        0,
      );
      if (await models.add({ manifest, sizeBytes })) return { name, version: manifest.version };
    }
    throw new SluiceError('unavailable', 'Too many versions of this model are uploaded at the same time.');
  }

  async function store(folder: string, { files }: Manifest, written: ReadonlyMap<string, StoredBlob>) {
    for (const path of Object.keys(files)) {
      const sha256 = written.get(path)?.sha256 ?? '';
      const stored = await blobs.put(blobKey(sha256), createReadStream(join(folder, path)));
      if (stored.sha256 !== sha256)
        throw storeFailure(new Error(`${path} has changed since it was received`));
    }
  }

  /** The folder of an uploaded version's files; rejects with `unavailable` when they cannot be read now. */
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
        // Found where it is loaded, it would be taken for the version's own fault, which is failed then for good.
        if ((await hashFile(join(draft, path))) !== sha256)
          throw new Error(`${path} in the blob store has other bytes than were stored`);
      }
      await rename(draft, folder).catch(async (error: unknown) => {
        if (!(await exists(folder))) throw error;
        // Another process was faster, and may be reading it, or it is damaged: file by file there is none that is missing.
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

  /** Frees what uploads left that were killed long ago. */
  async function sweep(): Promise<void> {
    const names = await readdir(uploadsFolder).catch(() => []);
    for (const name of names) {
      const path = join(uploadsFolder, name);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: clock.now() }));
      if (clock.now() - mtimeMs > STALE_UPLOAD_MS) await rm(path, { recursive: true, force: true });
    }
  }

  return { receive, fetch, sweep };
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

interface Prepared {
  written: ReadonlyMap<string, StoredBlob>;
  /** To the manifest. */
  changes: Partial<Manifest>;
}

async function quantized(
  folder: string,
  { format, golden, files }: Manifest,
  received: ReadonlyMap<string, StoredBlob>,
  { dtype, tolerance }: QuantizeRequest,
): Promise<Prepared> {
  if (format === 'saved_model') throw invalid([{ path: '?quantize', message: 'is for tfjs models' }]);
  if (golden === undefined)
    throw invalid([{ path: '?quantize', message: 'needs golden vectors: nothing else tells what is lost' }]);
  const path = join(folder, MODEL_FILE);
  const { model, replaced } = await quantizeWeights(folder, await readFile(path, 'utf8'), dtype).catch(
    (error: unknown) => {
      throw invalid([{ path: '?quantize', message: messageOf(error) }]);
    },
  );
  const written = new Map([...received].filter(([name]) => !replaced.includes(name)));
  await writeFile(path, model);
  for (const name of [MODEL_FILE, QUANTIZED_WEIGHTS]) {
    const sizeBytes = (await stat(join(folder, name))).size;
    written.set(name, { sizeBytes, sha256: await hashFile(join(folder, name)) });
  }
  const kept = Object.entries(files).filter(([name]) => written.has(name) && name !== MODEL_FILE);
  const made = [MODEL_FILE, QUANTIZED_WEIGHTS].map(
    (name) => [name, written.get(name)?.sha256 ?? ''] as const,
  );
  const originalBytes = Object.keys(files).reduce(
    (sum, name) => sum + (received.get(name)?.sizeBytes ?? 0),
    0,
  );
  return {
    written,
    changes: {
      files: Object.fromEntries([...made, ...kept]),
      quantization: { dtype, tolerance, originalBytes },
    },
  };
}

/** Throws `invalid_input` for a manifest that is none or does not fit the files. */
async function checkedManifest(
  name: string,
  next: number,
  folder: string,
  written: ReadonlyMap<string, StoredBlob>,
): Promise<Manifest> {
  const hashes: Record<string, string> = {};
  for (const [path, { sha256 }] of written) if (path !== MANIFEST_FILE) hashes[path] = sha256;
  const manifest = await readManifest(folder, { name, version: next, files: hashes }).catch(
    (error: unknown) => {
      if (error instanceof ManifestFault)
        throw invalid(error.faults.map((fault) => ({ ...fault, path: `/${MANIFEST_FILE}${fault.path}` })));
      throw invalid([{ path: '', message: messageOf(error) }]);
    },
  );
  const faults: Fault[] = [];
  if (manifest.name !== name) faults.push({ path: `/${MANIFEST_FILE}/name`, message: `must be ${name}` });
  for (const [path, stated] of Object.entries(manifest.files)) {
    const found = hashes[path];
    const pointer = `/${escapePointer(path)}`;
    if (!found) faults.push({ path: pointer, message: `is listed in ${MANIFEST_FILE} and was not sent` });
    else if (found !== stated)
      faults.push({ path: pointer, message: `has the sha256 ${found}, ${MANIFEST_FILE} states ${stated}` });
  }
  for (const path of Object.keys(hashes))
    if (!Object.hasOwn(manifest.files, path))
      faults.push({ path: `/${escapePointer(path)}`, message: `is not listed in ${MANIFEST_FILE}` });
  if (manifest.golden !== undefined && !Object.hasOwn(hashes, manifest.golden))
    faults.push({ path: `/${MANIFEST_FILE}/golden`, message: `${manifest.golden} was not sent` });
  if (manifest.format !== 'saved_model' && Object.hasOwn(hashes, MODEL_FILE))
    faults.push(...weightFaults(await readModelFile(folder), sizesOf(written)));
  if (faults.length > 0) throw invalid(faults);
  await checkTopology(folder, manifest.format).catch((error: unknown) => {
    throw invalid([{ path: `/${MODEL_FILE}`, message: messageOf(error) }]);
  });
  return manifest;
}

async function readModelFile(folder: string): Promise<unknown> {
  const text = await readFile(join(folder, MODEL_FILE), 'utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid([{ path: `/${MODEL_FILE}`, message: `is not JSON: ${messageOf(error)}` }]);
  }
}

function sizesOf(written: ReadonlyMap<string, StoredBlob>): Map<string, number> {
  return new Map([...written].map(([path, { sizeBytes }]) => [path, sizeBytes]));
}

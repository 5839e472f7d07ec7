/**
 * The bundled versions of the configuration. They lie in a folder, or in a bucket, from which a process fetches them into the
 * cache when it starts.
 *
 * The fetched folder is named by a hash of the bucket's listing, so that a changed bucket is another folder. It is whole or
 * does not exist. A start removes the folders that no worker has touched for a week.
 */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../base/clock.js';
import { ConfigError } from '../../base/config.js';
import { exists } from '../../base/disk.js';
import { sha256Of } from '../../base/hash.js';
import type { Logger } from '../../base/log.js';
import type { BlobStore } from '../../blobs/blobs.js';
import { type BucketConfig, isBucket, openBucket } from '../../blobs/open.js';
import type { Config } from '../../contract/config.js';
import { versionKey } from '../../contract/models/model-ref.js';
import {
  type BundledVersion,
  type FaultyVersion,
  type ModelFolder,
  readModelFolder,
} from '../../model-packages/model-folder.js';
import { unreadableManifest } from './model-record.js';
import { type Models, NumberTaken } from './models.js';

type BundledConfig = BucketConfig & Pick<Config, 'SLUICE_MODELS_DIR' | 'SLUICE_CACHE_DIR'>;

const UNUSED_MS = 7 * 86_400_000;

/** Versions of the place, those that can be read and the others. */
export type BundledVersions = Pick<ModelFolder, 'versions' | 'faulty'>;

/**
 * Returns the bundled versions, sorted by name and number, and tells the log which cannot be served and why.
 * @throws ConfigError when the folder cannot be read or all of its versions have faults; {SluiceError} `unavailable` when the
 *   bucket cannot be read.
 */
export async function readBundledVersions(
  config: BundledConfig,
  clock: Clock,
  log: Pick<Logger, 'error' | 'warn'>,
): Promise<BundledVersions> {
  const place = config.SLUICE_MODELS_DIR;
  const { versions, faulty, notices } = await readPlace(place, config, clock);
  if (versions.length === 0 && faulty.length > 0)
    throw new ConfigError(
      `The models in ${place} have faults:\n  ${faulty.map(({ why }) => why).join('\n  ')}`,
    );
  for (const { why } of faulty) log.error({ place, why }, 'bundled version not served');
  for (const why of notices) log.warn({ place, why }, 'folder passed over');
  return { versions, faulty };
}

type BundledRegistry = Pick<Models, 'register' | 'read' | 'report'>;

/**
 * Registers bundled versions, those that cannot be read as failed. Returns the others, but for those whose number is taken,
 * which the log is told.
 *
 * @param servers tells how many workers serve a version. One that is served stays ready. Unless told, each is: a worker cannot
 *   tell of others that start beside it, and the API can.
 */
export async function registerBundled(
  models: BundledRegistry,
  { versions, faulty }: BundledVersions,
  log: Pick<Logger, 'error'>,
  servers: (model: string, version: number) => number = () => 1,
): Promise<BundledVersion[]> {
  const registered: BundledVersion[] = [];
  for (const version of versions) {
    try {
      await models.register(version);
      registered.push(version);
    } catch (error) {
      if (!(error instanceof NumberTaken)) throw error;
      log.error({ why: error.message }, 'bundled version not served');
    }
  }
  for (const { name, version, why } of faulty)
    if (version !== null)
      await registerFaulty(models, name, version, { error: why, isUnserved: servers(name, version) === 0 });
  return registered;
}

/**
 * Makes a version failed because its files cannot be read now. One whose files were read before keeps its signature; one that
 * was uploaded or retired stays as it is.
 */
async function registerFaulty(
  models: BundledRegistry,
  name: string,
  version: number,
  fault: { error: string; isUnserved: boolean },
): Promise<void> {
  const model = await models.read(name);
  const known = model?.versions.find(({ manifest }) => manifest.version === version);
  if (known?.uploaded || known?.state === 'retired' || model?.purged.includes(version)) return;
  const manifest = unreadableManifest(name, version, model?.description ?? '');
  if (!known) await models.register({ manifest, sizeBytes: 0 });
  await models.report(name, version, 'failed', fault);
}

/** Returns the versions that the place holds, as `versionKey` names them, faulty ones too. */
export function bundledKeys(
  registered: readonly BundledVersion[],
  faulty: readonly FaultyVersion[],
): Set<string> {
  const held = [...registered.map(({ manifest }) => manifest), ...faulty];
  return new Set(held.map(({ name, version }) => versionKey(name, version ?? 0)));
}

/** Keeps what was fetched for these versions; a worker calls it now and then, because its children read the files again. */
export async function keepBundled(
  { SLUICE_MODELS_DIR: place }: Pick<BundledConfig, 'SLUICE_MODELS_DIR'>,
  [version]: readonly BundledVersion[],
  clock: Clock,
): Promise<void> {
  if (version && isBucket(place)) await touch(join(version.path, '../..'), clock);
}

async function touch(folder: string, clock: Clock): Promise<void> {
  const nowSeconds = clock.now() / 1000;
  await utimes(folder, nowSeconds, nowSeconds).catch(() => undefined);
}

async function removeUnused(parent: string, clock: Clock): Promise<void> {
  for (const name of await readdir(parent)) {
    const path = join(parent, name);
    const found = await stat(path).catch(() => null);
    if (found && clock.now() - found.mtimeMs > UNUSED_MS) await rm(path, { recursive: true, force: true });
  }
}

async function readPlace(place: string, config: BundledConfig, clock: Clock): Promise<ModelFolder> {
  if (!isBucket(place)) return readModelFolder(place);
  const bucket = await openBucket(place, config, clock);
  try {
    const parent = join(config.SLUICE_CACHE_DIR, 'bundled');
    const folder = await fetchAll(bucket, parent);
    await touch(folder, clock);
    await removeUnused(parent, clock);
    return await readModelFolder(folder);
  } finally {
    bucket.close();
  }
}

async function fetchAll(bucket: BlobStore, parent: string): Promise<string> {
  const keys: string[] = [];
  const lines: string[] = [];
  for await (const { key, sizeBytes, lastModifiedMs } of bucket.list('')) {
    // Consoles mark a folder by an empty object of its name.
    if (key.endsWith('/')) continue;
    keys.push(key);
    lines.push(`${key} ${sizeBytes} ${lastModifiedMs}`);
  }
  const folder = join(parent, sha256Of(lines.sort().join('\n')));
  if (await exists(folder)) return folder;
  const draft = join(parent, `.${randomUUID()}`);
  try {
    await mkdir(draft, { recursive: true });
    for (const key of keys) await fetchOne(bucket, key, join(draft, key));
    await rename(draft, folder).catch(async (error: unknown) => {
      // Another process was faster.
      if (!(await exists(folder))) throw error;
    });
    return folder;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function fetchOne(bucket: BlobStore, key: string, path: string): Promise<void> {
  const blob = await bucket.open(key);
  if (!blob) throw new Error(`${key} is gone from the bucket while it was read`);
  await mkdir(dirname(path), { recursive: true });
  await pipeline(blob.stream, createWriteStream(path));
}

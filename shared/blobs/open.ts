/**
 * Opens the blob store that the configuration names: the bucket of SLUICE_BLOBS, or a folder in the data folder.
 */
import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { ConfigError } from '../base/config.js';
import { makeOwnFolder } from '../base/disk.js';
import type { Config } from '../contract/config.js';
import type { BlobStore } from './blobs.js';
import { openFileBlobs } from './filesystem.js';

export type BucketConfig = Pick<
  Config,
  | 'SLUICE_DATA_DIR'
  | 'SLUICE_BLOBS_ENDPOINT'
  | 'SLUICE_BLOBS_REGION'
  | 'SLUICE_BLOBS_ACCESS_KEY'
  | 'SLUICE_BLOBS_SECRET_KEY'
>;
export type BlobsConfig = BucketConfig & Pick<Config, 'SLUICE_BLOBS'>;

const SCHEME = 's3://';

/**
 * Opens the configured store. A bucket is not contacted before the first call.
 *
 * @throws {ConfigError} when one of the two credentials is missing, or the data folder cannot be made
 */
export async function openBlobs(config: BlobsConfig, clock: Clock): Promise<BlobStore> {
  const { SLUICE_DATA_DIR: data, SLUICE_BLOBS: place } = config;
  if (place) return openBucket(place, config, clock);
  credentialsOf(config);
  const folder = join(data, 'blobs');
  makeOwnFolder(folder, 'SLUICE_DATA_DIR');
  return openFileBlobs(folder, clock);
}

/** Returns whether a place of blobs or models is a bucket and not a folder. */
export function isBucket(place: string): boolean {
  return place.startsWith(SCHEME);
}

/**
 * Opens a bucket. `place` is s3://bucket/prefix, with or without a prefix.
 *
 * @throws {ConfigError} when one of the two credentials is missing
 */
export async function openBucket(place: string, config: BucketConfig, clock: Clock): Promise<BlobStore> {
  const credentials = credentialsOf(config);
  // The SDK takes 20 MB and 150 ms, which most processes save.
  const { openS3Blobs } = await import('./s3.js');
  return openS3Blobs({
    ...parsePlace(place),
    region: config.SLUICE_BLOBS_REGION,
    endpoint: config.SLUICE_BLOBS_ENDPOINT,
    credentials,
    spoolFolder: join(config.SLUICE_DATA_DIR, 'spool'),
    clock,
  });
}

/** Parses s3://bucket/a/b into `bucket` and `a/b/`. */
function parsePlace(place: string): { bucket: string; prefix: string } {
  const [bucket = '', ...parts] = place.slice(SCHEME.length).split('/');
  return { bucket, prefix: parts.map((part) => `${part}/`).join('') };
}

function credentialsOf(config: BucketConfig) {
  const { SLUICE_BLOBS_ACCESS_KEY: accessKeyId, SLUICE_BLOBS_SECRET_KEY: secretAccessKey } = config;
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey };
  if (!accessKeyId && !secretAccessKey) return undefined;
  throw new ConfigError('Set both of SLUICE_BLOBS_ACCESS_KEY and SLUICE_BLOBS_SECRET_KEY, or neither.');
}

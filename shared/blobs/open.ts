/**
 * The blob store of the configuration: a bucket where SLUICE_BLOBS names one, else a folder of the data folder.
 */
import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { type Config, ConfigError } from '../base/config.js';
import type { BlobStore } from './blobs.js';
import { openFileBlobs } from './filesystem.js';

export type BlobsConfig = Pick<
  Config,
  | 'SLUICE_DATA_DIR'
  | 'SLUICE_BLOBS'
  | 'SLUICE_BLOBS_ENDPOINT'
  | 'SLUICE_BLOBS_REGION'
  | 'SLUICE_BLOBS_ACCESS_KEY'
  | 'SLUICE_BLOBS_SECRET_KEY'
>;

/**
 * Throws a `ConfigError` for half a pair of credentials, `unavailable` for a folder that cannot be made; a bucket is
 * asked by nothing before the first call.
 */
export async function openBlobs(config: BlobsConfig, clock: Clock): Promise<BlobStore> {
  const { SLUICE_DATA_DIR: data, SLUICE_BLOBS: place } = config;
  const credentials = credentialsOf(config);
  if (!place) return openFileBlobs(join(data, 'blobs'), clock);
  // The SDK takes 20 MB and 150 ms that most processes do without.
  const { openS3Blobs } = await import('./s3.js');
  return openS3Blobs({
    ...parsePlace(place),
    region: config.SLUICE_BLOBS_REGION,
    endpoint: config.SLUICE_BLOBS_ENDPOINT,
    credentials,
    spoolFolder: join(data, 'spool'),
    clock,
  });
}

/** "s3://bucket/a/b" -> bucket, "a/b/" */
function parsePlace(place: string): { bucket: string; prefix: string } {
  const [bucket = '', ...parts] = place.slice('s3://'.length).split('/');
  return { bucket, prefix: parts.map((part) => `${part}/`).join('') };
}

function credentialsOf(config: BlobsConfig) {
  const { SLUICE_BLOBS_ACCESS_KEY: accessKeyId, SLUICE_BLOBS_SECRET_KEY: secretAccessKey } = config;
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey };
  if (!accessKeyId && !secretAccessKey) return undefined;
  throw new ConfigError('Set both of SLUICE_BLOBS_ACCESS_KEY and SLUICE_BLOBS_SECRET_KEY, or neither.');
}

/**
 * Translates errors of an S3 server into those of the blob store.
 */
import type { SluiceError } from '../contract/errors.js';
import { storeFailure, storeFull } from './blobs.js';

/** The error names of MinIO, Ceph and others for a full store; status 507 means the same. */
const FULL = /StorageFull|QuotaExceeded|InsufficientStorage/;
/** The SDK's error name when it finds no credentials anywhere. */
const NO_CREDENTIALS = 'CredentialsProviderError';
/** Timeout and too many requests; every 5xx is transient too. */
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 429]);

/** Undefined when no response came. */
function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function isFull(error: unknown): boolean {
  return statusOf(error) === 507 || FULL.test(nameOf(error));
}

/** Returns whether the key is missing; a missing bucket is a failure instead. */
export function isMissing(error: unknown): boolean {
  return nameOf(error) === 'NoSuchKey';
}

/** Returns whether the same request may work a moment later: no response came, or its status says so. */
export function isTransient(error: unknown): boolean {
  if (isFull(error) || nameOf(error) === NO_CREDENTIALS) return false;
  const status = statusOf(error);
  return status === undefined || status >= 500 || TRANSIENT_STATUS.has(status);
}

/**
 * Throws what the blob store throws for an error of an S3 server.
 *
 * @throws {SluiceError} `unavailable`, always; its text names the kind of failure, but no host, bucket or key
 */
export function bucketFailure(error: unknown): never {
  throw failureOf(error);
}

function failureOf(error: unknown): SluiceError {
  if (isFull(error)) return storeFull(error);
  if (nameOf(error) === NO_CREDENTIALS) return storeFailure(error, 'The blob store has no credentials.');
  switch (statusOf(error)) {
    case 401:
    case 403:
      return storeFailure(error, 'The blob store refuses our credentials.');
    case 404:
      return storeFailure(error, 'The blob store has no such bucket.');
    default:
      return storeFailure(error);
  }
}

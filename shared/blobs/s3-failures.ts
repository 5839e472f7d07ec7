/**
 * What an S3 server answers, as errors of ours.
 */
import type { SluiceError } from '../contract/errors.js';
import { storeFailure, storeFull } from './blobs.js';

/** Full, in the words of MinIO, Ceph and others; 507 besides. */
const FULL = /StorageFull|QuotaExceeded|InsufficientStorage/;
/** The SDK found none in any of its places. */
const NO_CREDENTIALS = 'CredentialsProviderError';
/** Besides every 5xx: too slow, too many. */
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 429]);

/** Undefined where no answer came. */
function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function isFull(error: unknown): boolean {
  return statusOf(error) === 507 || FULL.test(nameOf(error));
}

/** A missing key; a missing bucket is a failure. */
export function isMissing(error: unknown): boolean {
  return nameOf(error) === 'NoSuchKey';
}

/** Whether the same request may work a moment later: no answer at all, or one that says so. */
export function isTransient(error: unknown): boolean {
  if (isFull(error) || nameOf(error) === NO_CREDENTIALS) return false;
  const status = statusOf(error);
  return status === undefined || status >= 500 || TRANSIENT_STATUS.has(status);
}

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

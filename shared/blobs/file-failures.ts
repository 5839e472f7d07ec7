/**
 * Translates errors of the file system into those of the blob store.
 */
import { storeFailure, storeFull } from './blobs.js';

/** No space, no quota, or the file may not grow so large. */
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}

/**
 * Throws what the blob store throws for an error of the file system.
 *
 * @throws {SluiceError} `unavailable`, always; its text says whether the disk is full
 */
export function fileFailure(error: unknown): never {
  throw FULL.has(codeOf(error)) ? storeFull(error) : storeFailure(error, 'The blob store failed.');
}

/** Returns null when the file is missing, and throws like `fileFailure` otherwise. */
export function nullIfMissing(error: unknown): null {
  return codeOf(error) === 'ENOENT' ? null : fileFailure(error);
}

/**
 * What a file system says, as errors of ours.
 */
import { storeFailure, storeFull } from './blobs.js';

/** No space, no quota, no file that large. */
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}

export function fileFailure(error: unknown): never {
  throw FULL.has(codeOf(error)) ? storeFull(error) : storeFailure(error, 'The blob store failed.');
}

/** For a file that need not be there. */
export function nullIfMissing(error: unknown): null {
  return codeOf(error) === 'ENOENT' ? null : fileFailure(error);
}

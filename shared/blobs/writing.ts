/**
 * Writing a stream to a file while counting and hashing it.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { BlobContent, StoredBlob } from './blobs.js';
import { fileFailure } from './failures.js';

/** So much is hashed in one go: about a millisecond in which nothing else runs. */
const SLICE_BYTES = 1024 * 1024;

/** Errors of the source pass through as they are; those of the file are told as `unavailable`. */
export async function writeHashed(file: FileHandle, content: BlobContent): Promise<StoredBlob> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of content instanceof Uint8Array ? slices(content) : content) {
    hash.update(chunk);
    sizeBytes += chunk.byteLength;
    await file.writeFile(chunk).catch(fileFailure);
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

function* slices(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += SLICE_BYTES)
    yield bytes.subarray(start, start + SLICE_BYTES);
}

/** A stream that fails before it is read keeps its error until it is; heard by nobody, it would end the process. */
export function keepError(content: BlobContent): void {
  if (content instanceof Readable) content.on('error', () => {});
}

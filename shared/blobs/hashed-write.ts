/**
 * Writes a stream to a file, and counts and hashes it on the way.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { BlobContent, StoredBlob } from './blobs.js';
import { fileFailure } from './file-failures.js';

/** Bytes that are hashed at once: about a millisecond in which nothing else runs. */
const SLICE_BYTES = 1024 * 1024;

/**
 * Returns the size and the SHA-256 of what was written. Errors of the source pass through as they are.
 *
 * @throws {SluiceError} `unavailable` when the file cannot be written
 */
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

/** Keeps the error of a stream that fails before it is read. Without a listener, that error would end the process. */
export function keepError(content: BlobContent): void {
  if (content instanceof Readable) content.on('error', () => {});
}

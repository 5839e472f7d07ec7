/**
 * Spools a stream to a file before it goes to S3, because a put needs size and hash before the first byte, and a failed put must
 * begin again from the start.
 *
 * The name of the file is removed as soon as the file is open, so nothing is left of it however this process ends.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { BlobContent, StoredBlob } from './blobs.js';
import { fileFailure } from './file-failures.js';
import { keepError, writeHashed } from './hashed-write.js';

const CHUNK_BYTES = 256 * 1024;

export interface Spooled extends StoredBlob {
  /** Returns a new stream from the first byte; call it once for each attempt. */
  read(): Readable;
  /** Frees the disk space. */
  close(): Promise<void>;
}

/**
 * Writes `content` to a file in `folder`, which is made if it is missing.
 *
 * @throws {SluiceError} `unavailable` when the disk fails or is full; an error of the source passes through as it is
 */
export async function spool(folder: string, content: BlobContent): Promise<Spooled> {
  keepError(content);
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch(fileFailure);
  const path = join(folder, randomUUID());
  const file = await open(path, 'wx+', 0o600).catch(fileFailure);
  try {
    await rm(path).catch(fileFailure);
    const stored = await writeHashed(file, content);
    return {
      ...stored,
      read: () => Readable.from(chunksOf(file)),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads by position, so that it can begin again. A ReadStream would close the file when it is destroyed. */
async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ; ) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.allocUnsafe(CHUNK_BYTES), position });
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

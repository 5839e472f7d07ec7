/**
 * A stream on its way to S3, first kept in a file: a put there needs size and hash before the first byte, and a failed
 * one has to begin again from the start.
 *
 * The file has no name from the moment it is open, so that nothing is left of it, however this process ends.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { BlobContent, StoredBlob } from './blobs.js';
import { fileFailure } from './failures.js';
import { keepError, writeHashed } from './writing.js';

const CHUNK_BYTES = 256 * 1024;

export interface Spooled extends StoredBlob {
  /** From the first byte, as often as asked. */
  read(): Readable;
  close(): Promise<void>;
}

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

/** By position, so that it can begin again; a ReadStream would close the file when it is destroyed. */
async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ; ) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.allocUnsafe(CHUNK_BYTES), position });
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * Reads a tar file, gzipped or not, entry by entry as it arrives; long names and PAX headers too.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Parser, type ReadEntry } from 'tar';
import { messageOf } from '../../base/errors.js';
import { invalid, SluiceError } from '../../contract/errors.js';
import { isJunk, plainPath } from '../../contract/models/package-path.js';
import { type ArchiveMeter, type ArchiveReader, entryPointer } from './archive-reader.js';

/** Reads a tar file to its end, or to the first error of the meter or of `take`. */
export async function readTar(
  content: AsyncIterable<Uint8Array>,
  { take, refuse }: ArchiveReader,
  meter: ArchiveMeter,
): Promise<void> {
  let failure: unknown = null;
  let entries = 0;
  const taken: Promise<void>[] = [];

  async function* metered(entry: ReadEntry): AsyncGenerator<Uint8Array> {
    for await (const chunk of entry as AsyncIterable<Uint8Array>) {
      meter.unpacked(chunk.length);
      yield chunk;
    }
  }

  async function takeEntry(entry: ReadEntry): Promise<void> {
    try {
      const path = plainPath(entry.path);
      if (failure !== null) return;
      meter.entry(entry.size);
      if (entry.type === 'Directory' || isJunk(path)) return;
      if (entry.type === 'File' || entry.type === 'OldFile') await take(path, metered(entry));
      else refuse({ path: entryPointer(path), message: `is a ${entry.type}: only files are taken` });
    } catch (error) {
      failure ??= error;
    } finally {
      // The parser waits for each entry: one that was left unread is discarded here.
      entry.resume();
    }
  }

  /** Ends at the first failure, so that an archive that is refused is not unpacked any further. */
  async function* untilFailure(): AsyncGenerator<Uint8Array> {
    for await (const chunk of content) {
      if (failure !== null) throw failure;
      yield chunk;
    }
  }

  const parser = new Parser({
    strict: true,
    onReadEntry(entry) {
      entries++;
      if (failure === null) taken.push(takeEntry(entry));
      else entry.resume();
    },
  });
  try {
    await pipeline(Readable.from(untilFailure()), parser as unknown as NodeJS.WritableStream);
  } catch (error) {
    if (error instanceof SluiceError) throw error;
    throw (
      failure ??
      invalid([{ path: '/archive', message: `is no tar file and no zip file: ${messageOf(error)}` }])
    );
  }
  await Promise.all(taken);
  if (failure !== null) throw failure;
  if (entries === 0)
    throw invalid([{ path: '/archive', message: 'is no tar file and no zip file, or an empty one' }]);
}

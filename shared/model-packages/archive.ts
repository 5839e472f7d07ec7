/**
 * A version sent as one archive: a tar file, gzipped or not, whose entries are the files of the version's folder.
 *
 * The bytes are a stranger's, so the library itself unpacks nothing. Each entry goes to `take` under the path that it claims,
 * and `take` judges the path. Links and devices are refused, and so are more than `maxBytes` in all.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Parser, type ReadEntry } from 'tar';
import { messageOf } from '../base/errors.js';
import { invalid, SluiceError } from '../contract/errors.js';
import { escapePointer } from '../contract/schema.js';

type Take = (path: string, content: AsyncIterable<Uint8Array>) => Promise<void>;

/**
 * Reads an archive to its end.
 * @throws the first error of `take`, or a `SluiceError` that says what is wrong with the archive.
 */
export async function unpack(
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
  take: Take,
): Promise<void> {
  let bytes = 0;
  let failure: unknown = null;
  const taken: Promise<void>[] = [];

  async function* bounded(entry: ReadEntry): AsyncGenerator<Uint8Array> {
    for await (const chunk of entry as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > maxBytes)
        throw new SluiceError('body_too_large', `The archive holds more than ${maxBytes} bytes.`);
      yield chunk;
    }
  }

  async function takeEntry(entry: ReadEntry): Promise<void> {
    try {
      const path = entry.path.replace(/^(\.\/)+/, '');
      if (failure !== null || entry.type === 'Directory') return;
      if (entry.type !== 'File' && entry.type !== 'OldFile')
        throw invalid([
          { path: `/${escapePointer(path)}`, message: `is a ${entry.type}: only files are taken` },
        ]);
      await take(path, bounded(entry));
    } catch (error) {
      failure ??= error;
    } finally {
      // The parser waits for each entry: one that `take` left unread is discarded here.
      entry.resume();
    }
  }

  const parser = new Parser({ strict: true, onReadEntry: (entry) => void taken.push(takeEntry(entry)) });
  try {
    await pipeline(Readable.from(content), parser as unknown as NodeJS.WritableStream);
  } catch (error) {
    if (error instanceof SluiceError) throw error;
    throw failure ?? invalid([{ path: '/archive', message: `is no tar file: ${messageOf(error)}` }]);
  }
  await Promise.all(taken);
  if (failure !== null) throw failure;
  if (taken.length === 0) throw invalid([{ path: '/archive', message: 'is no tar file, or an empty one' }]);
}

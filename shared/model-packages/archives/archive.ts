/**
 * A version sent as one archive: a tar file, gzipped or not, or a zip file, whose entries are the files of the version's folder.
 *
 * The bytes are a stranger's, so the libraries themselves unpack nothing. Each entry goes to `take` under the path that it
 * claims, and `take` judges the path. More than `maxBytes` in all are refused before they are unpacked.
 */
import { invalid } from '../../contract/errors.js';
import { type ArchiveReader, meterOf } from './archive-reader.js';

/** The longest of the marks by which files begin. */
const HEAD_BYTES = 6;
const ZIP = [0x50, 0x4b];
const REFUSED: readonly [name: string, mark: readonly number[]][] = [
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ['7-Zip', [0x37, 0x7a, 0xbc, 0xaf]],
  ['RAR', [0x52, 0x61, 0x72, 0x21]],
];

/**
 * Reads an archive to its end.
 * @throws the first error of `take`, or a `SluiceError` that says what is wrong with the archive.
 */
export async function unpack(content: AsyncIterable<Uint8Array>, reader: ArchiveReader): Promise<void> {
  const { head, whole } = await peek(content);
  const begins = (mark: readonly number[]) => mark.every((byte, i) => head[i] === byte);
  const refused = REFUSED.find(([, mark]) => begins(mark));
  if (refused)
    throw invalid([
      { path: '/archive', message: `is packed by ${refused[0]}: send a .tar.gz, a .tar or a .zip` },
    ]);
  const meter = meterOf(reader.maxBytes);
  // A process that is sent no archive never loads what reads them.
  const read = begins(ZIP)
    ? (await import('./archive-zip.js')).readZip
    : (await import('./archive-tar.js')).readTar;
  await read(whole, reader, meter);
}

/** Returns the first bytes of a stream, and the stream with them. */
async function peek(
  content: AsyncIterable<Uint8Array>,
): Promise<{ head: Uint8Array; whole: AsyncIterable<Uint8Array> }> {
  const rest = content[Symbol.asyncIterator]();
  const seen: Uint8Array[] = [];
  let length = 0;
  while (length < HEAD_BYTES) {
    const { value, done } = await rest.next();
    if (done) break;
    seen.push(value);
    length += value.length;
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield* seen;
    yield* { [Symbol.asyncIterator]: () => rest };
  }
  return { head: Buffer.concat(seen).subarray(0, HEAD_BYTES), whole: whole() };
}

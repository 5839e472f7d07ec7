/**
 * Reads a zip file by the list of entries at its end, zip64 too. Backslashes in names are slashes: some tools of Windows write
 * them so.
 */
import { crc32 } from 'node:zlib';
import { type Entry, fromFdPromise, getFileNameLowLevel, type ZipFile } from 'yauzl';
import { messageOf } from '../../base/errors.js';
import { invalid, SluiceError } from '../../contract/errors.js';
import { isJunk, plainPath } from '../../contract/models/package-path.js';
import { type ArchiveMeter, type ArchiveReader, entryPointer } from './archive-reader.js';

/** Names are judged by `take`, like those of any other upload, so the library leaves them as they are. */
const OPTIONS = { autoClose: false, lazyEntries: true, decodeStrings: false } as const;
const STORED = 0;
const DEFLATED = 8;
/** The kind of a file as Unix writes it into the upper half of the attributes. */
const KIND = 0o170000;
const LINK = 0o120000;

/** Reads a zip file to its end, or to the first error of the meter or of `take`. */
export async function readZip(
  content: AsyncIterable<Uint8Array>,
  { take, refuse, spool }: ArchiveReader,
  meter: ArchiveMeter,
): Promise<void> {
  const file = await spool(content);
  try {
    const zip = await fromFdPromise(file.fd, OPTIONS);
    for await (const entry of zip.eachEntry()) {
      meter.entry(entry.uncompressedSize);
      const path = plainPath(nameOf(entry));
      if (path.endsWith('/') || isJunk(path)) continue;
      const message = faultOf(entry);
      if (message !== null) refuse({ path: entryPointer(path), message });
      else await take(path, contentOf(zip, entry, path, meter));
    }
    if (zip.entryCount === 0) throw invalid([{ path: '/archive', message: 'is an empty zip file' }]);
  } catch (error) {
    if (error instanceof SluiceError) throw error;
    throw invalid([{ path: '/archive', message: `is no zip file that can be read: ${messageOf(error)}` }]);
  } finally {
    await file.close();
  }
}

function nameOf(entry: Entry): string {
  const { generalPurposeBitFlag, fileNameRaw, extraFields } = entry;
  return getFileNameLowLevel(generalPurposeBitFlag, fileNameRaw, extraFields, false);
}

function faultOf(entry: Entry): string | null {
  if (entry.isEncrypted()) return 'is encrypted: send it without a password';
  if (entry.compressionMethod !== STORED && entry.compressionMethod !== DEFLATED)
    return `is packed by method ${entry.compressionMethod} of zip: only deflate is read`;
  if (((entry.externalFileAttributes >>> 16) & KIND) === LINK) return 'is a link: only files are taken';
  return null;
}

async function* contentOf(
  zip: ZipFile,
  entry: Entry,
  path: string,
  meter: ArchiveMeter,
): AsyncGenerator<Uint8Array> {
  let sum = 0;
  for await (const chunk of (await zip.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) {
    meter.unpacked(chunk.length);
    sum = crc32(chunk, sum);
    yield chunk;
  }
  if (sum !== entry.crc32)
    throw invalid([{ path: entryPointer(path), message: 'is damaged: it has another checksum than stated' }]);
}

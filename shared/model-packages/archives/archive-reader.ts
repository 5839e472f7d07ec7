/**
 * What the readers of archives share: where entries go, and how much an archive may hold.
 */
import type { FileHandle } from 'node:fs/promises';
import { type Fault, invalid, SluiceError } from '../../contract/errors.js';
import { escapePointer } from '../../contract/schema.js';

export interface ArchiveReader {
  /** The bound of all entries together, those that are skipped too. */
  maxBytes: number;
  /** Takes a file. What it leaves unread is dropped. */
  take(path: string, content: AsyncIterable<Uint8Array>): Promise<void>;
  /** Hears of an entry that is no file. The others are still read, so that all faults are known at once. */
  refuse(fault: Fault): void;
  /** Keeps a zip file, whose list of entries stands at its end, until it has been read. */
  spool(content: AsyncIterable<Uint8Array>): Promise<FileHandle>;
}

/** Counts what an archive claims to hold; both throw once it is too much. */
export interface ArchiveMeter {
  entry(sizeBytes: number): void;
  /** Counts bytes that were unpacked, which may be more than an entry claimed. */
  unpacked(sizeBytes: number): void;
}

/** The most entries of an archive: far more than a version has files, because folders and strays are entries too. */
const MAX_ENTRIES = 20_000;

/** Returns the meter of one archive. */
export function meterOf(maxBytes: number): ArchiveMeter {
  let entries = 0;
  let claimed = 0;
  let unpacked = 0;
  const demand = (bytes: number) => {
    if (bytes > maxBytes)
      throw new SluiceError('body_too_large', `The archive holds more than ${maxBytes} bytes.`);
  };
  return {
    entry(sizeBytes) {
      if (++entries > MAX_ENTRIES)
        throw invalid([{ path: '/archive', message: `has more than ${MAX_ENTRIES} entries` }]);
      claimed += sizeBytes;
      demand(claimed);
    },
    unpacked(sizeBytes) {
      unpacked += sizeBytes;
      demand(unpacked);
    },
  };
}

/** Returns the pointer to an entry, for its faults. */
export function entryPointer(path: string): string {
  return `/${escapePointer(path)}`;
}

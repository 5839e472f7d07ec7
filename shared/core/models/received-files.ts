/**
 * The files of an upload as they arrive, in a folder of this process.
 *
 * What systems leave in folders is dropped. A file under a path that cannot be taken is dropped too, and its fault is kept, so
 * that a caller hears of all at once. Folders around the whole are taken off.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { BlobContent, StoredBlob } from '../../blobs/blobs.js';
import { fileFailure } from '../../blobs/file-failures.js';
import { writeHashed } from '../../blobs/hashed-write.js';
import { type Fault, invalid } from '../../contract/errors.js';
import { isContainedPath, isJunk, plainPath } from '../../contract/models/package-path.js';
import { escapePointer } from '../../contract/schema.js';
import { unpack } from '../../model-packages/archives/archive.js';
import { MODEL_FILE } from '../../model-packages/tfjs-ports.js';
import type { UploadedFiles } from './uploaded-manifest.js';

export interface ReceivedFiles {
  /**
   * Takes a file of the version. `path` is the caller's word, and an error of `content` passes through.
   * @throws {SluiceError} `invalid_input`, `unavailable`.
   */
  write(path: string, content: BlobContent): Promise<void>;
  /**
   * Takes the files of an archive that holds at most `maxBytes`.
   * @throws {SluiceError} `invalid_input`, `body_too_large`, `unavailable`.
   */
  unpack(content: AsyncIterable<Uint8Array>, maxBytes: number): Promise<void>;
}

interface Content {
  /** The folder within the one given in which the version lies; "" as a rule. */
  root: string;
  /** The files by their paths within `root`, sorted, because equal versions have equal hashes. */
  received: UploadedFiles;
  faults: readonly Fault[];
}

/** The most files of one version. */
export const MAX_FILES = 1000;
/** The largest model.json, which is read whole, in one turn of the event loop. */
const MAX_MODEL_FILE_BYTES = 32 * 1024 * 1024;
/** The most faults that an answer lists. */
const MAX_FAULTS = 100;
/** Errors of the file system that say that a path is taken. */
const TAKEN: ReadonlySet<unknown> = new Set(['EEXIST', 'ENOTDIR', 'EISDIR']);

/** Returns an empty upload, which keeps its files in `folder`. */
export function receiveFiles(folder: string): ReceivedFiles & { content(): Content } {
  const received = new Map<string, StoredBlob>();
  const faults: Fault[] = [];
  let count = 0;

  function refuse(fault: Fault): void {
    if (faults.length < MAX_FAULTS) faults.push(fault);
  }

  async function write(claimed: string, content: BlobContent): Promise<void> {
    const path = plainPath(claimed);
    if (isJunk(path)) return drop(content);
    if (++count > MAX_FILES) throw invalid([{ path: '', message: `holds more than ${MAX_FILES} files` }]);
    const pointer = `/${escapePointer(path)}`;
    const file = await openNew(folder, path);
    if (typeof file === 'string') {
      refuse({ path: pointer, message: file });
      return drop(content);
    }
    const maxBytes = basename(path) === MODEL_FILE ? MAX_MODEL_FILE_BYTES : Number.POSITIVE_INFINITY;
    try {
      received.set(path, await writeHashed(file, bounded(content, pointer, maxBytes)));
    } finally {
      await file.close();
    }
  }

  /** The file has no name, so nothing is left of it however this process ends. */
  async function spool(content: AsyncIterable<Uint8Array>): Promise<FileHandle> {
    const path = join(folder, `.${randomUUID()}`);
    const file = await open(path, 'wx+', 0o600).catch(fileFailure);
    try {
      await rm(path).catch(fileFailure);
      await writeHashed(file, content);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  return {
    write,
    unpack: (content, maxBytes) => unpack(content, { maxBytes, take: write, refuse, spool }),
    content() {
      const root = commonFolder([...received.keys()]);
      const inside = [...received].map(([path, stored]) => [path.slice(root.length), stored] as const);
      return { root, received: new Map(inside.sort(([a], [b]) => (a < b ? -1 : 1))), faults };
    },
  };
}

/** Opens a file that is not there yet; returns what is wrong with its path. */
async function openNew(folder: string, path: string): Promise<FileHandle | string> {
  if (!isContainedPath(path)) return 'is not a path inside the folder of a version';
  const target = join(folder, path);
  try {
    await mkdir(dirname(target), { recursive: true });
    return await open(target, 'wx');
  } catch (error) {
    return TAKEN.has((error as { code?: unknown }).code) ? 'is there already' : fileFailure(error);
  }
}

/** Returns the folders, with a slash at their end, in which all of the paths lie. */
function commonFolder([first = '', ...others]: readonly string[]): string {
  let common = first.slice(0, first.lastIndexOf('/') + 1);
  while (common !== '' && !others.every((path) => path.startsWith(common)))
    common = common.slice(0, common.lastIndexOf('/', common.length - 2) + 1);
  return common;
}

async function* bounded(content: BlobContent, path: string, maxBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of content instanceof Uint8Array ? [content] : content) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes)
      throw invalid([{ path, message: `is larger than ${maxBytes} bytes without its weights` }]);
    yield chunk;
  }
}

async function drop(content: BlobContent): Promise<void> {
  if (content instanceof Uint8Array) return;
  for await (const _ of content);
}

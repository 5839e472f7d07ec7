/**
 * Blobs: bytes too large for a record, each under a key that Sluice made.
 *
 * Promises of every store: a reader sees a blob whole or not at all. When several puts write one key at the same time, one wins
 * whole. A blob survives a crash once `put` has resolved. A missing blob is `null`, never an error. Every failure of the store is
 * a `SluiceError` `unavailable`; its text tells a full store from one out of reach, and its `cause` is for the log.
 */
import type { Readable } from 'node:stream';
import { SluiceError } from '../contract/errors.js';

export interface StoredBlob {
  sizeBytes: number;
  /** In lower-case hexadecimal. */
  sha256: string;
}

/** Both ends are included, and lie within the blob. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface OpenedBlob {
  /** The stream has this many. */
  sizeBytes: number;
  /** Must be read to its end or destroyed. A stream that breaks off ends in an error, never early. */
  stream: Readable;
}

export interface ListedBlob {
  key: string;
  sizeBytes: number;
  /** Milliseconds since the Unix epoch, by the clock of the store; S3 has whole seconds. */
  lastModifiedMs: number;
}

export type BlobContent = Uint8Array | AsyncIterable<Uint8Array>;

export interface BlobStore {
  /**
   * Writes a blob or replaces it. An error of a source stream passes through as it is. `contentType` is kept where the store has
   * a place for it (S3), for people who look there.
   */
  put(key: string, content: BlobContent, options?: { contentType?: string }): Promise<StoredBlob>;
  /** Returns the bytes of a blob that is known to fit into memory (2 GiB at most). */
  get(key: string): Promise<Buffer | null>;
  /** Returns the size and the bytes as a stream, all of them unless a range is given. */
  open(key: string, range?: ByteRange): Promise<OpenedBlob | null>;
  /** Deletes a blob; a missing blob is no error. */
  delete(key: string): Promise<void>;
  /** Yields every blob whose key begins with `prefix`, in no particular order. A blob that is put or deleted meanwhile may be missing. */
  list(prefix: string): AsyncIterable<ListedBlob>;
  /** Deletes what puts left that were killed more than `STALE_UPLOAD_MS` ago, and returns how many. Call it now and then. */
  sweep(): Promise<number>;
  /** Closes connections. */
  close(): void;
}

/** A put that has written nothing for this long was killed. */
export const STALE_UPLOAD_MS = 3_600_000;
/** A key is one file name on disk, which holds 255 bytes at most. */
const MAX_KEY_LENGTH = 240;
/** No part can be empty, `.`, `..` or hidden; a key can't be absolute. */
const KEY = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)*$/;
const PREFIX = /^[A-Za-z0-9_./-]*$/;

/** Returns whether `text` can be the key of a blob: safe as a file name, as a path and in a URL. */
export function isBlobKey(text: string): boolean {
  return text.length <= MAX_KEY_LENGTH && KEY.test(text);
}

/** Throws a plain error for a malformed key. Sluice makes all keys, so this is a bug of the caller and has no error code. */
export function demandKey(key: string): void {
  if (!isBlobKey(key)) throw new Error(`${JSON.stringify(key)} is not a key of a blob. This is a bug.`);
}

/** Throws a plain error for a malformed prefix of keys. */
export function demandPrefix(prefix: string): void {
  if (!PREFIX.test(prefix))
    throw new Error(`${JSON.stringify(prefix)} is not a prefix of keys. This is a bug.`);
}

const FULL_RETRY_SECONDS = 60;
const RETRY_SECONDS = 1;

/** Returns the error of a full store, which callers may try again after a minute. */
export function storeFull(cause: unknown): SluiceError {
  return new SluiceError('unavailable', 'The blob store is full.', {
    cause,
    retryAfterSeconds: FULL_RETRY_SECONDS,
  });
}

/** Returns the error of a store that fails. Callers of the API read `detail`, so it must name no path, host or bucket. */
export function storeFailure(cause: unknown, detail = 'The blob store cannot be reached.'): SluiceError {
  return new SluiceError('unavailable', detail, { cause, retryAfterSeconds: RETRY_SECONDS });
}

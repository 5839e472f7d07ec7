/**
 * Blobs: bytes too large for a record, each under a key that we made.
 *
 * Promises of every store: a reader sees a blob whole or not at all; of puts of one key at the same time one wins, whole;
 * what `put` has answered survives a crash. A missing blob is `null`, never an error. Whatever the store does is a
 * `SluiceError` `unavailable`: its text tells a full store from one out of reach, its `cause` is for the log.
 */
import type { Readable } from 'node:stream';
import { SluiceError } from '../contract/errors.js';

export interface StoredBlob {
  sizeBytes: number;
  /** In lower-case hexadecimal. */
  sha256: string;
}

export interface OpenedBlob {
  sizeBytes: number;
  /** Has to be read to its end or destroyed; one that breaks off ends in an error, never early. */
  stream: Readable;
}

export interface ListedBlob {
  key: string;
  sizeBytes: number;
  /** Since the Unix epoch, by the clock of the store; S3 tells whole seconds. */
  lastModifiedMs: number;
}

export type BlobContent = Uint8Array | AsyncIterable<Uint8Array>;

export interface BlobStore {
  /**
   * Writes a blob or replaces it. An error of a source that is a stream passes through as it is. `contentType` is kept
   * where the store has a place for it (S3), for people who look there.
   */
  put(key: string, content: BlobContent, options?: { contentType?: string }): Promise<StoredBlob>;
  /** The bytes, for a blob known to fit into memory (2 GiB at most). */
  get(key: string): Promise<Buffer | null>;
  open(key: string): Promise<OpenedBlob | null>;
  /** Deleting what is not there is no error. */
  delete(key: string): Promise<void>;
  /** Every blob whose key begins with `prefix`, in no particular order; one put or deleted meanwhile may be in it or not. */
  list(prefix: string): AsyncIterable<ListedBlob>;
  /** Resolves if a put could work now. */
  check(): Promise<void>;
  /** Frees what puts left that were killed more than `STALE_UPLOAD_MS` ago; answers how many. Call it now and then. */
  sweep(): Promise<number>;
  close(): void;
}

/** A put that wrote nothing for so long was killed. */
export const STALE_UPLOAD_MS = 3_600_000;
/** A key is one file name on disk, which holds 255 bytes at most. */
const MAX_KEY_LENGTH = 240;
/** No part can be empty, `.`, `..` or hidden; a key can't be absolute. */
const KEY = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)*$/;
const PREFIX = /^[A-Za-z0-9_./-]*$/;

export function isBlobKey(text: string): boolean {
  return text.length <= MAX_KEY_LENGTH && KEY.test(text);
}

/** Keys are made by us, so one of another form is a bug of the caller: no code of the table. */
export function demandKey(key: string): void {
  if (!isBlobKey(key)) throw new Error(`${JSON.stringify(key)} is not a key of a blob. This is a bug.`);
}

export function demandPrefix(prefix: string): void {
  if (!PREFIX.test(prefix))
    throw new Error(`${JSON.stringify(prefix)} is not a prefix of keys. This is a bug.`);
}

const FULL_RETRY_SECONDS = 60;
const RETRY_SECONDS = 1;

export function storeFull(cause: unknown): SluiceError {
  return new SluiceError('unavailable', 'The blob store is full.', {
    cause,
    retryAfterSeconds: FULL_RETRY_SECONDS,
  });
}

/** `detail` is read by callers of the API: it names no path, host or bucket. */
export function storeFailure(cause: unknown, detail = 'The blob store cannot be reached.'): SluiceError {
  return new SluiceError('unavailable', detail, { cause, retryAfterSeconds: RETRY_SECONDS });
}

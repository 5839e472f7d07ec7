/**
 * The blob store in a bucket of S3 or of any server that speaks its protocol (path-style addresses).
 *
 * Each put is one PutObject, which S3 makes atomic. The signature covers the SHA-256 of the body, so bytes that changed on the way
 * are refused. The largest blob has 5 GiB. The SDK retries nothing; `withRetries` does, uploads of streams included. The
 * credentials need ListBucket, because S3 otherwise responds 403 for a missing key.
 */
import { webcrypto } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { Clock } from '../base/clock.js';
import { removeStale } from '../base/disk.js';
import {
  type BlobContent,
  type BlobStore,
  type ByteRange,
  demandKey,
  demandPrefix,
  isBlobKey,
  type ListedBlob,
  type OpenedBlob,
  STALE_UPLOAD_MS,
  type StoredBlob,
} from './blobs.js';
import { withRetries } from './retry.js';
import { bucketFailure, isMissing, isTransient } from './s3-failures.js';
import { spool } from './spool.js';

const CONNECT_TIMEOUT_MS = 3000;
/** The longest silence on a connection while a response is awaited. */
const SILENCE_TIMEOUT_MS = 30_000;
/** Connections at once; a download holds one until it ends. */
const MAX_SOCKETS = 200;

/** Without a logger the SDK writes to the console, and errors already tell what fails. */
const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

export interface S3Options {
  bucket: string;
  /** Stands before every key and ends with a slash; empty for none. */
  prefix: string;
  region: string;
  /** AWS' own endpoint of the region when unset. */
  endpoint: string | undefined;
  /** When unset, the AWS SDK looks for them (AWS_* variables, its files, the role of the machine or container). */
  credentials: { accessKeyId: string; secretAccessKey: string } | undefined;
  /** The folder for streams under way. */
  spoolFolder: string;
  clock: Clock;
  silenceTimeoutMs?: number;
}

interface Body extends StoredBlob {
  read(): Uint8Array | Readable;
}

/** Opens the store without a request; the first call meets what is wrong with the bucket or the credentials. */
export function openS3Blobs(options: S3Options): BlobStore {
  const { bucket: Bucket, prefix, spoolFolder, clock } = options;
  const client = createClient(options);
  const place = (key: string) => ({ Bucket, Key: prefix + key });
  const retrying = <T>(attempt: () => Promise<T>) => withRetries(clock, isTransient, attempt);

  async function put(
    key: string,
    content: BlobContent,
    { contentType }: { contentType?: string } = {},
  ): Promise<StoredBlob> {
    demandKey(key);
    if (content instanceof Uint8Array) {
      const sha256 = await sha256Of(content);
      return upload(key, { sha256, sizeBytes: content.byteLength, read: () => content }, contentType);
    }
    const spooled = await spool(spoolFolder, content);
    try {
      return await upload(key, spooled, contentType);
    } finally {
      await spooled.close();
    }
  }

  async function upload(key: string, body: Body, contentType: string | undefined): Promise<StoredBlob> {
    const { sizeBytes, sha256 } = body;
    await retrying(async () => {
      const Body = body.read();
      const command = new PutObjectCommand({
        ...place(key),
        Body,
        ContentLength: sizeBytes,
        ContentType: contentType ?? 'application/octet-stream',
      });
      signPayload(command, sha256);
      try {
        await client.send(command);
      } finally {
        if (!(Body instanceof Uint8Array)) Body.destroy();
      }
    }).catch(bucketFailure);
    return { sizeBytes, sha256 };
  }

  async function find(key: string, range?: ByteRange): Promise<OpenedBlob | null> {
    const part = range && { Range: `bytes=${range.start}-${range.end}` };
    try {
      const { Body, ContentLength } = await client.send(new GetObjectCommand({ ...place(key), ...part }));
      if (ContentLength === undefined) throw new Error('The S3 server sent no length.');
      return { sizeBytes: ContentLength, stream: Body as Readable };
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async function open(key: string, range?: ByteRange): Promise<OpenedBlob | null> {
    demandKey(key);
    return retrying(() => find(key, range)).catch(bucketFailure);
  }

  async function get(key: string): Promise<Buffer | null> {
    demandKey(key);
    return retrying(async () => {
      const found = await find(key);
      return found && buffer(found.stream);
    }).catch(bucketFailure);
  }

  async function remove(key: string): Promise<void> {
    demandKey(key);
    await retrying(() => client.send(new DeleteObjectCommand(place(key)))).catch(bucketFailure);
  }

  async function* list(wanted: string): AsyncGenerator<ListedBlob> {
    demandPrefix(wanted);
    let after: string | undefined;
    do {
      const page = new ListObjectsV2Command({ Bucket, Prefix: prefix + wanted, ContinuationToken: after });
      const { Contents = [], NextContinuationToken } = await retrying(() => client.send(page)).catch(
        bucketFailure,
      );
      for (const { Key = '', Size = 0, LastModified } of Contents) {
        const key = Key.slice(prefix.length);
        if (isBlobKey(key)) yield { key, sizeBytes: Size, lastModifiedMs: LastModified?.getTime() ?? 0 };
      }
      after = NextContinuationToken;
    } while (after);
  }

  return {
    put,
    get,
    open,
    delete: remove,
    list,
    // A put that was killed leaves nothing in a bucket, and in the spool at most a file that was not open yet.
    sweep: () => removeStale(spoolFolder, clock.now(), STALE_UPLOAD_MS).catch(() => 0),
    close: () => client.destroy(),
  };
}

function createClient({ region, endpoint, credentials, silenceTimeoutMs }: S3Options): S3Client {
  const agent = { keepAlive: true, maxSockets: MAX_SOCKETS };
  return new S3Client({
    region,
    ...(endpoint && { endpoint }),
    ...(credentials && { credentials }),
    forcePathStyle: true,
    logger: SILENT,
    maxAttempts: 1,
    // The SHA-256 in the signature covers the body; older servers know no other checksum.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: silenceTimeoutMs ?? SILENCE_TIMEOUT_MS,
      httpAgent: agent,
      httpsAgent: agent,
    },
  });
}

/** The SDK leaves the body of a stream out of the signature unless it is told the hash. */
function signPayload(command: PutObjectCommand, sha256: string): void {
  command.middlewareStack.add(
    (next) => (step) => {
      (step.request as { headers: Record<string, string> }).headers['x-amz-content-sha256'] = sha256;
      return next(step);
    },
    { step: 'build', name: 'signPayload' },
  );
}

/** Hashes on another thread, so that a large buffer does not block the event loop. */
async function sha256Of(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)).toString(
    'hex',
  );
}

/**
 * Reading uploads as multipart/form-data (RFC 7578). They are streamed, so no more than a few chunks are in memory.
 *
 * A part's content ends only once the whole form has been found good. So nothing is stored of an upload that broke off, is
 * too large, or has a part too many.
 */
import { Busboy, type BusboyHeaders, type BusboyInstance } from '@fastify/busboy';
import type { Context } from 'koa';
import { messageOf } from '../../shared/base/errors.js';
import { invalid, SluiceError } from '../../shared/contract/errors.js';
import { cleanContentType } from '../../shared/contract/file.js';
import { escapePointer } from '../../shared/contract/schema.js';
import type { BodyState } from './body-arrival.js';

export interface UploadLimits {
  /** Bound of the contents of all parts together. */
  maxBytes: number;
  maxParts: number;
  /** Names of the parts that are taken; `file` when missing. */
  names?: readonly string[];
}

export interface FilePart {
  name: string;
  contentType: string;
  /** The name that the caller wrote, folders included. */
  filename: string | null;
  /** The bytes, which must be read to their end. Reading throws what is wrong with the upload. */
  content: AsyncIterable<Uint8Array>;
}

const NAMES = ['file'];
/** Room for the boundary and the head of a part. */
const ENVELOPE_BYTES = 64 * 1024;
const HEAD_LIMITS = { headerPairs: 32, headerSize: 8192, fieldSize: 1024 };
/** An upload may stall for so long, for it is large and its line may break for a moment. */
const STALL_MS = 30_000;

/**
 * Gives each part to `take` as it arrives, and resolves to the results in the order of the parts, of which there is at least
 * one.
 *
 * @throws {SluiceError} `body_too_large`, `body_too_slow`, `unsupported_media_type`, `malformed_request` for an upload that breaks off, or
 *   `invalid_input` for a part that is not wanted; and whatever `take` throws
 */
export async function readFileParts<T>(
  ctx: Context,
  { maxBytes, maxParts, names = NAMES }: UploadLimits,
  take: (part: FilePart) => Promise<T>,
): Promise<T[]> {
  const { req } = ctx;
  const maxBodyBytes = maxBytes + maxParts * ENVELOPE_BYTES;
  const tooLarge = () => new SluiceError('body_too_large', `The upload is larger than ${maxBytes} bytes.`);
  if ((ctx.request.length ?? 0) > maxBodyBytes) throw tooLarge();
  const form = openForm(ctx, names);
  const taken: Promise<T>[] = [];
  const contents: { destroy(error: Error): unknown }[] = [];

  const ended = new Promise<void>((resolve, reject) => {
    let received = 0;
    let contentBytes = 0;
    let failed = false;

    function fail(error: Error): void {
      failed = true;
      req.unpipe(form);
      // The rest is read and dropped, so that a caller who is still sending can read the answer.
      req.resume();
      for (const content of contents) content.destroy(error);
      reject(error);
    }

    form.on('file', (name, stream, filename, _, type) => {
      stream.on('error', () => undefined);
      if (failed) {
        stream.resume();
        return;
      }
      if (!names.includes(name) || taken.length === maxParts) {
        stream.resume();
        fail(
          invalid([
            {
              path: `/${escapePointer(name)}`,
              message: `${names.includes(name) ? 'is one part too many' : 'is no part of this form'}: ${wanted(names, maxParts)}`,
            },
          ]),
        );
        return;
      }
      async function* content(): AsyncGenerator<Uint8Array> {
        for await (const chunk of stream as AsyncIterable<Uint8Array>) {
          contentBytes += chunk.byteLength;
          if (contentBytes > maxBytes) throw tooLarge();
          yield chunk;
        }
        await ended;
      }
      contents.push(stream as unknown as { destroy(error: Error): unknown });
      const part = take({
        name,
        contentType: cleanContentType(type),
        filename: filename ?? null,
        content: content(),
      });
      part.catch(fail);
      taken.push(part);
    });
    form.on('field', (name) =>
      fail(invalid([{ path: `/${escapePointer(name)}`, message: `is no file: ${wanted(names, maxParts)}` }])),
    );
    form.on('error', (error) => fail(broken(messageOf(error))));
    form.once('finish', resolve);
    req.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received > maxBodyBytes) fail(tooLarge());
    });
    req.once('error', (error) => fail(broken(messageOf(error))));
    req.once('close', () => {
      if (!req.complete) fail(broken('the connection was closed'));
    });
    (ctx.state as BodyState).beginBody?.(fail, STALL_MS);
    req.pipe(form);
  });

  try {
    await ended;
  } catch (error) {
    // Parts that were stored are removed before the caller is told.
    await Promise.allSettled(taken);
    throw error;
  }
  if (taken.length === 0) throw invalid([{ path: `/${names[0]}`, message: 'is required' }]);
  const outcomes = await Promise.allSettled(taken);
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

function wanted(names: readonly string[], maxParts: number): string {
  const parts = names.map((name) => `\`${name}\``).join(' or ');
  return maxParts === 1 ? `one part ${parts} is taken` : `up to ${maxParts} parts ${parts} are taken`;
}

function openForm(ctx: Context, names: readonly string[]): BusboyInstance {
  const type = ctx.get('content-type');
  if (!/^multipart\/form-data\s*(;|$)/i.test(type))
    throw new SluiceError('unsupported_media_type', 'The body must be multipart/form-data.');
  const encoding = ctx.get('content-encoding').toLowerCase();
  if (encoding !== '' && encoding !== 'identity')
    throw new SluiceError('unsupported_media_type', `The content encoding ${encoding} is not supported.`);
  try {
    return new Busboy({
      headers: { ...ctx.headers, 'content-type': type } satisfies BusboyHeaders,
      limits: HEAD_LIMITS,
      preservePath: true,
      isPartAFile: (name, _, filename) =>
        (name !== undefined && names.includes(name)) || filename !== undefined,
    });
  } catch (error) {
    throw broken(messageOf(error));
  }
}

function broken(why: string): SluiceError {
  return new SluiceError('malformed_request', `The upload cannot be read: ${why}.`);
}

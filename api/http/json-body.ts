/**
 * Reading JSON bodies, which are bounded before they cost: type, size after decompression, and depth are checked before
 * anything is parsed.
 */
import type { IncomingMessage } from 'node:http';
import { pipeline, type Readable, Transform } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Context } from 'koa';
import getRawBody from 'raw-body';
import { messageOf } from '../../shared/base/errors.js';
import { sha256Of } from '../../shared/base/hash.js';
import { SluiceError } from '../../shared/contract/errors.js';
import { type ParsedJson, parseJsonOfParts, whole, withoutMark } from '../../shared/contract/json/json.js';
import type { BodyState } from './body-arrival.js';

export interface BodyLimits {
  maxBytes: number;
  /** How deep arrays and objects may nest. */
  maxDepth: number;
}

export interface JsonBody extends ParsedJson {
  /** Returns the SHA-256 of the bytes in hexadecimal. */
  fingerprint(): string;
}

export const JSON_TYPE = 'application/json';
export const NDJSON_TYPE = 'application/x-ndjson';
const NEWLINE = 0x0a;
const SMALL_BODY_BYTES = 16 * 1024;

/**
 * Resolves to the body as one JSON value.
 *
 * @param parse reads the bytes; a body that submits jobs has a parser of its own
 * @throws {SluiceError} `unsupported_media_type`, `body_too_large`, `body_too_slow`, `malformed_request`, `malformed_json`, or `invalid_input` for
 *   a text with half a surrogate pair
 */
export async function readJson(
  ctx: Context,
  limits: BodyLimits,
  parse = parseJsonOfParts,
): Promise<JsonBody> {
  const body = await readJsonOfParts(ctx, limits, parse);
  whole(body);
  return body;
}

/** Reads the body as `readJson` does, for a route that asks `demandWholeText` of each part, so that a bad one harms no other. */
export async function readJsonOfParts(
  ctx: Context,
  { maxBytes, maxDepth }: BodyLimits,
  parse = parseJsonOfParts,
): Promise<JsonBody> {
  typeOf(ctx, JSON_TYPE);
  const bytes = await readBytes(ctx, maxBytes);
  return {
    ...parse(bytes, maxDepth, 'The body'),
    fingerprint: () => sha256Of(bytes),
  };
}

/** Reads a body that a person writes by hand. It is so small that all its faults can be told. */
export function readSmallJson(ctx: Context, { maxBytes, maxDepth }: BodyLimits): Promise<JsonBody> {
  return readJson(ctx, { maxBytes: Math.min(maxBytes, SMALL_BODY_BYTES), maxDepth });
}

/** Reads a small body that may be left out, in whose place stands an empty object. */
export async function readOptionalJson(ctx: Context, limits: BodyLimits): Promise<unknown> {
  const isMissing = !ctx.request.length && ctx.get('transfer-encoding') === '';
  return isMissing ? {} : (await readSmallJson(ctx, limits)).value;
}

/**
 * Resolves to one function for each line that is not blank. A function parses its line when it is called and throws what is
 * wrong with that line alone (https://github.com/ndjson/ndjson-spec).
 *
 * @throws {SluiceError} `unsupported_media_type`, `body_too_large` or `malformed_request` for the body as a whole
 */
export async function readLines(
  ctx: Context,
  { maxBytes, maxDepth }: BodyLimits,
  parse: typeof parseJsonOfParts,
): Promise<(() => unknown)[]> {
  const bytes = withoutMark(await readBytes(ctx, maxBytes));
  return linesOf(bytes).map((line) => () => whole(parse(line, maxDepth, 'The line')));
}

/** Returns the lines that hold more than white space, without copying them. */
export function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    const line = bytes.subarray(start, end);
    if (line.some((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0d)) lines.push(line);
    start = end + 1;
  }
  return lines;
}

/**
 * Returns the media type of the body, one of `accepted`.
 *
 * @throws {SluiceError} `unsupported_media_type` for any other type, and for a charset that is not UTF-8
 */
export function typeOf(ctx: Context, ...accepted: readonly string[]): string {
  const [type = '', ...parameters] = ctx
    .get('content-type')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='));
  if (!accepted.includes(type) || (charset !== undefined && !/^charset="?utf-8"?$/.test(charset))) {
    throw new SluiceError(
      'unsupported_media_type',
      `The body must be ${accepted.join(' or ')} in UTF-8; its Content-Type is ${ctx.get('content-type') || 'missing'}.`,
    );
  }
  return type;
}

async function readBytes(ctx: Context, maxBytes: number): Promise<Buffer> {
  const compressed = isCompressed(ctx);
  const tooLarge = () => new SluiceError('body_too_large', `The body is larger than ${maxBytes} bytes.`);
  const length = compressed ? undefined : ctx.request.length;
  if ((length ?? 0) > maxBytes) throw tooLarge();
  const tooSlow = new Promise<never>((_, reject) => (ctx.state as BodyState).beginBody?.(reject));
  tooSlow.catch(() => undefined);
  try {
    const stream = compressed ? uncompressed(ctx.req) : ctx.req;
    const options = { limit: maxBytes, ...(length === undefined ? {} : { length }) };
    return await Promise.race([getRawBody(stream, options), tooSlow]);
  } catch (error) {
    if (error instanceof SluiceError) throw error;
    const type = (error as { type?: string }).type;
    if (type === 'entity.too.large') {
      ctx.req.unpipe();
      ctx.req.resume();
      throw tooLarge();
    }
    throw new SluiceError('malformed_request', `The body cannot be read: ${messageOf(error)}.`, {
      cause: error,
    });
  }
}

function isCompressed(ctx: Context): boolean {
  const encoding = ctx.get('content-encoding').trim().toLowerCase();
  if (encoding === '' || encoding === 'identity') return false;
  // RFC 9110, section 8.4.1.3: both names mean the same.
  if (encoding === 'gzip' || encoding === 'x-gzip') return true;
  throw new SluiceError(
    'unsupported_media_type',
    `The content encoding ${encoding} is not supported; gzip is.`,
  );
}

/** Yields the content of a gzip file of one member or several. Of what zlib would skip behind them, nothing is skipped. */
function uncompressed(req: IncomingMessage): Readable {
  const gunzip = createGunzip();
  let received = 0;
  req.on('data', (chunk: Buffer) => (received += chunk.length));
  const checkEnd = new Transform({
    transform: (chunk, _, done) => done(null, chunk),
    flush: (done) =>
      done(gunzip.bytesWritten < received ? new Error('bytes follow that are not gzip') : undefined),
  });
  // The request is not destroyed with the pipeline, because it carries the answer.
  req.once('error', (error) => gunzip.destroy(error));
  req.once('close', () => void (req.complete || gunzip.destroy(new Error('the connection was closed'))));
  return pipeline(req.pipe(gunzip), checkEnd, () => undefined);
}

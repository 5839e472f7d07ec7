/**
 * Byte ranges (RFC 9110, section 14): a download that was cut goes on where it ended.
 */
import type { Context } from 'koa';
import parseRange from 'range-parser';
import type { ByteRange } from '../../shared/blobs/blobs.js';
import { SluiceError } from '../../shared/contract/errors.js';

/**
 * Returns the range that the request asks for and sets the headers of its answer. Returns null for the whole content: when the
 * request names no range, several, or an entity tag that is not `tag` (If-Range).
 *
 * @throws {SluiceError} `range_not_satisfiable` when the content ends before the range begins
 */
export function answerRange(ctx: Context, sizeBytes: number, tag: string): ByteRange | null {
  ctx.set('Accept-Ranges', 'bytes');
  ctx.etag = tag;
  const condition = ctx.get('if-range');
  const isSame = condition === '' || condition === `"${tag}"`;
  if (ctx.method !== 'GET' || ctx.get('range') === '' || !isSame) return null;
  const ranges = parseRange(sizeBytes, ctx.get('range'), { combine: true });
  if (ranges === -1) {
    ctx.set('Content-Range', `bytes */${sizeBytes}`);
    throw new SluiceError('range_not_satisfiable', `The content has ${sizeBytes} bytes.`);
  }
  // RFC 9110, section 14.2 allows to ignore what is malformed, and another answer would need multipart/byteranges.
  if (ranges === -2 || ranges.type !== 'bytes' || ranges.length !== 1) return null;
  const range = ranges[0] as ByteRange;
  ctx.status = 206;
  ctx.set('Content-Range', `bytes ${range.start}-${range.end}/${sizeBytes}`);
  return { start: range.start, end: range.end };
}

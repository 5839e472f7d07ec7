/**
 * Entity tags: answers that the caller already has are not sent again.
 */
import type { Context } from 'koa';

/** An entity tag of RFC 9110, section 8.8.3. A proxy that compresses an answer makes its tag weak. */
const ENTITY_TAG = /(?:W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/g;

/**
 * Answers 304 without a body when the request's If-None-Match names the entity tag of the answer, by the weak comparison of
 * RFC 9110, section 13.1.2. The body must be set before.
 *
 * `ctx.fresh` is no help: it never matches a request with `Cache-Control: no-cache`, which fetch adds to every If-None-Match.
 */
export function answerUnchanged(ctx: Context, tag: string): void {
  ctx.etag = tag;
  const asked = ctx.get('if-none-match').trim();
  const known = asked === '*' || [...asked.matchAll(ENTITY_TAG)].some(([, opaque]) => opaque === tag);
  if (!known) return;
  ctx.status = 304;
  ctx.body = null;
}

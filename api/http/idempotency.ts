/**
 * Requests that make something, once: the Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), and the answer, which
 * says whether an earlier request with that key made it.
 */
import type { Context } from 'koa';
import { SluiceError } from '../../shared/contract/errors.js';
import type { Idempotency } from '../../shared/core/idempotency.js';

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

/**
 * Returns the key of a request, empty when the header is missing.
 *
 * @throws {SluiceError} `malformed_request` for a key that is no text of 1 to 255 printable ASCII characters. An empty one is a
 *   mistake of the caller, who trusts that a repeat makes nothing twice.
 */
export function idempotencyKeyOf(ctx: Context): string {
  const key = ctx.headers['idempotency-key'];
  if (key === undefined) return '';
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key;
  throw new SluiceError(
    'malformed_request',
    key === ''
      ? 'Idempotency-Key is empty. Send 1 to 255 printable ASCII characters, or leave the header out.'
      : 'Idempotency-Key must be 1 to 255 printable ASCII characters.',
  );
}

/**
 * Returns what makes a request repeatable, undefined when it carries no key.
 *
 * @param route scopes the key, so the same key on two routes names two requests
 * @param fingerprint gives the SHA-256 of the body, by which a key that is used with another body is refused
 * @throws {SluiceError} `malformed_request`, as `idempotencyKeyOf` does
 */
export function idempotencyOf(
  ctx: Context,
  route: string,
  fingerprint: () => string,
): Idempotency | undefined {
  const key = idempotencyKeyOf(ctx);
  return key === '' ? undefined : { route, key, fingerprint: fingerprint() };
}

/** Sets the head of an answer to a request that made what is at `path`, or found it by its key. */
export function answerMade(ctx: Context, status: 201 | 202, path: string, replayed: boolean): void {
  ctx.status = status;
  ctx.set('Location', path);
  markReplayed(ctx, replayed);
}

/** Says of an answer that nothing was made for it: the things it tells of were found by the request's key. */
export function markReplayed(ctx: Context, replayed: boolean): void {
  if (replayed) ctx.set('Idempotent-Replayed', 'true');
}

/**
 * The Idempotency-Key of a request (draft-ietf-httpapi-idempotency-key-header).
 */
import type { Context } from 'koa';
import { SluiceError } from '../../shared/contract/errors.js';
import type { Idempotency } from '../../shared/core/jobs/submission/job-writer.js';

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

/** '' when the request has none. */
export function idempotencyKeyOf(ctx: Context): string {
  const key = ctx.get('idempotency-key');
  if (key !== '' && !IDEMPOTENCY_KEY.test(key)) {
    throw new SluiceError(
      'malformed_request',
      'Idempotency-Key must be 1 to 255 printable ASCII characters.',
    );
  }
  return key;
}

export function idempotencyOf(
  ctx: Context,
  route: string,
  fingerprint: () => string,
): Idempotency | undefined {
  const key = idempotencyKeyOf(ctx);
  return key === '' ? undefined : { route, key, fingerprint: fingerprint() };
}

/**
 * Idempotency-Keys (draft-ietf-httpapi-idempotency-key-header): a key makes one thing, however often it comes. The scripts that
 * write a new record keep its key in the same step (redis/lua/include/idempotency.lua).
 *
 * While what it made is kept, however that ended, the key answers with it. When that is gone, by a deletion or at the end of its
 * retention, the key is as good as new.
 */
import { sha256Of } from '../base/hash.js';
import type { Keys } from '../redis/keys.js';

/** An Idempotency-Key in its scope; `fingerprint` identifies the body that came with it. */
export interface Idempotency {
  route: string;
  key: string;
  fingerprint: string;
  /** A day by default. */
  keptSeconds?: number;
  /** True for a key that makes nothing more although what it made is gone. */
  holds?: boolean;
}

const KEPT_SECONDS = 24 * 3600;

/**
 * Returns the values by which a script knows the key of a call.
 *
 * @param recordKey stands in for the key of a call without one, because a script in a cluster must be given every key
 */
export function idempotencyValues(
  keys: Keys,
  tenant: string,
  idempotency: Idempotency | undefined,
  recordKey: string,
) {
  return {
    idempotencyKey: idempotency
      ? keys.idempotency(tenant, idempotency.route, sha256Of(idempotency.key))
      : recordKey,
    fingerprint: idempotency?.fingerprint ?? '',
    idempotencySeconds: idempotency?.keptSeconds ?? KEPT_SECONDS,
  };
}

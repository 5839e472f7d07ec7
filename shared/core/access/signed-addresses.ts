/**
 * Signed addresses, made and judged by any process of an installation, because all share one secret in Redis.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../contract/errors.js';
import {
  checkGrant,
  type GivenQuery,
  type Grant,
  MIN_SECRET_BYTES,
  type SignedQuery,
  signGrant,
} from '../../contract/signed-address.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

export interface SignedAddressesDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
}

export type SignedAddresses = ReturnType<typeof createSignedAddresses>;

/** Returns the signer and judge of addresses. */
export function createSignedAddresses({ redis, keys, clock }: SignedAddressesDeps) {
  let secret: Promise<Buffer> | undefined;

  /** Returns the query that allows `grant` for so many seconds from now on. */
  async function sign(grant: Grant, seconds: number): Promise<SignedQuery> {
    return signGrant([await getSecret()], grant, clock.now() / 1000 + seconds);
  }

  /**
   * Tells whether `query` allows `grant` now.
   * @throws {SluiceError} `link_expired` for one that did.
   */
  async function allows(grant: Grant, query: GivenQuery): Promise<boolean> {
    const verdict = checkGrant([await getSecret()], grant, query, clock.now());
    if (verdict === 'expired') throw new SluiceError('link_expired');
    return verdict === 'valid';
  }

  /** Returns the secret. The first process that needs it makes it for all. */
  function getSecret(): Promise<Buffer> {
    secret ??= readSecret().catch((error: unknown) => {
      secret = undefined;
      throw error;
    });
    return secret;
  }

  async function readSecret(): Promise<Buffer> {
    await redis.set(keys.addressSecret, randomBytes(MIN_SECRET_BYTES).toString('base64'), 'NX');
    return Buffer.from((await redis.get(keys.addressSecret)) ?? '', 'base64');
  }

  return { sign, allows };
}

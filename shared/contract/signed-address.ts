/**
 * Signed addresses: the holder of one may read one thing until a time, without an API key.
 *
 * The signature (HMAC-SHA256, RFC 2104) covers what may be done, with what, the tenant and the expiry. The tenant is not in
 * the address. The process that answers takes it from the record that it finds, so an address stops working when its thing
 * changes hands.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { exactly, type JsonSchema, TIME, type TypeOf } from './schema.js';

/** The least length of a secret: that of the hash (RFC 2104, section 3). */
export const MIN_SECRET_BYTES = 32;
/** The longest that an address lives. */
export const MAX_ADDRESS_SECONDS = 3600;
/** How long an address lives whose caller names no time. */
const DEFAULT_SECONDS = 600;

/** The body that asks for an address. */
export const signAddressSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    ttlSeconds: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_ADDRESS_SECONDS,
      default: DEFAULT_SECONDS,
      description: 'How long the address can be opened.',
    },
  },
} as const satisfies JsonSchema;

export const signedAddressViewSchema = exactly({
  url: { type: 'string', format: 'uri-reference', description: 'Path and query, good for GET alone.' },
  expiresAt: TIME,
});
export type SignedAddressView = TypeOf<typeof signedAddressViewSchema>;

/** Returns the seconds for which an address is to live. */
export function addressSeconds({ ttlSeconds = DEFAULT_SECONDS }: TypeOf<typeof signAddressSchema>): number {
  return ttlSeconds;
}

/** Seconds since the Unix epoch, up to the year 5138. */
const EXPIRES = /^[1-9][0-9]{0,10}$/;

export interface Grant {
  /** The act that is allowed: to download a blob, or to follow the events of a job. */
  act: 'download' | 'events';
  /** Key of the blob, or id of the job. */
  key: string;
  tenant: string;
}

/** The query of a signed address. */
export interface SignedQuery {
  expires: string;
  signature: string;
}

/** The query that came with a request, as nobody has checked it. */
export type GivenQuery = { [name in keyof SignedQuery]?: unknown };

/**
 * Returns the query that is good until `expiresSeconds` since the Unix epoch, rounded up to whole seconds. The first of the
 * secrets signs.
 *
 * @throws Error without a secret of at least 32 bytes
 */
export function signGrant(secrets: readonly Uint8Array[], grant: Grant, expiresSeconds: number): SignedQuery {
  const [secret] = secrets;
  if (!secret) throw new Error('There is no secret to sign addresses with.');
  const expires = String(Math.ceil(expiresSeconds));
  if (!EXPIRES.test(expires)) throw new Error(`${expiresSeconds} is no time at which an address can expire.`);
  return { expires, signature: hmac(secret, grant, expires).toString('base64url') };
}

/**
 * Returns `expired` only for an address that was once valid, and `forged` for everything else that is wrong. Every secret is
 * good, so that they can be rotated. The check takes the same time wherever a signature differs.
 */
export function checkGrant(
  secrets: readonly Uint8Array[],
  grant: Grant,
  { expires, signature }: GivenQuery,
  nowMs: number,
): 'valid' | 'expired' | 'forged' {
  if (typeof expires !== 'string' || typeof signature !== 'string' || !EXPIRES.test(expires)) return 'forged';
  const matches = secrets.map((secret) => equal(signature, hmac(secret, grant, expires)));
  if (!matches.includes(true)) return 'forged';
  return nowMs < Number(expires) * 1000 ? 'valid' : 'expired';
}

function hmac(secret: Uint8Array, { act, key, tenant }: Grant, expires: string): Buffer {
  if (secret.byteLength < MIN_SECRET_BYTES)
    throw new Error(`A secret for addresses has at least ${MIN_SECRET_BYTES} bytes.`);
  // JSON keeps the parts apart, so no two grants are signed as the same text.
  const text = JSON.stringify([`sluice.${act}.v1`, key, tenant, expires]);
  return createHmac('sha256', secret).update(text).digest();
}

/** Compares the texts, because decoding would accept several spellings of one signature. */
function equal(signature: string, expected: Buffer): boolean {
  const given = Buffer.from(signature);
  const wanted = Buffer.from(expected.toString('base64url'));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

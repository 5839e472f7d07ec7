/**
 * Downloads without an API key: the holder of a signed address may read one blob until a time.
 *
 * The signature (HMAC-SHA256, RFC 2104) covers key, tenant and expiry. The tenant is not in the address. The process that
 * answers takes it from the record that it finds, so an address stops working when its blob changes hands.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** The least length of a secret: that of the hash (RFC 2104, section 3). */
export const MIN_SECRET_BYTES = 32;
/** Keeps these signatures apart from all others that are made with the same secret. */
const PURPOSE = 'sluice.download.v1';
/** Seconds since the Unix epoch, up to the year 5138. */
const EXPIRES = /^[1-9][0-9]{0,10}$/;

export interface Download {
  key: string;
  tenant: string;
}

/** The query of a signed address. */
export interface DownloadQuery {
  expires: string;
  signature: string;
}

/**
 * Returns the query that allows a download until `expiresSeconds` since the Unix epoch, rounded up to whole seconds. The first
 * of the secrets signs.
 *
 * @throws Error without a secret of at least 32 bytes
 */
export function signDownload(
  secrets: readonly Uint8Array[],
  download: Download,
  expiresSeconds: number,
): DownloadQuery {
  const [secret] = secrets;
  if (!secret) throw new Error('There is no secret to sign downloads with.');
  const expires = String(Math.ceil(expiresSeconds));
  if (!EXPIRES.test(expires)) throw new Error(`${expiresSeconds} is no time at which a download can expire.`);
  return { expires, signature: hmac(secret, download, expires).toString('base64url') };
}

/**
 * Returns `expired` only for an address that was once valid, and `forged` for everything else that is wrong. Every secret is
 * good, so that they can be rotated. The check takes the same time wherever a signature differs.
 */
export function checkDownload(
  secrets: readonly Uint8Array[],
  download: Download,
  query: { [name in keyof DownloadQuery]?: unknown },
  nowMs: number,
): 'valid' | 'expired' | 'forged' {
  const { expires, signature } = query;
  if (typeof expires !== 'string' || typeof signature !== 'string' || !EXPIRES.test(expires)) return 'forged';
  const matches = secrets.map((secret) => equal(signature, hmac(secret, download, expires)));
  if (!matches.includes(true)) return 'forged';
  return nowMs < Number(expires) * 1000 ? 'valid' : 'expired';
}

function hmac(secret: Uint8Array, { key, tenant }: Download, expires: string): Buffer {
  if (secret.byteLength < MIN_SECRET_BYTES)
    throw new Error(`A secret for downloads has at least ${MIN_SECRET_BYTES} bytes.`);
  // JSON keeps the parts apart, so no two downloads are signed as the same text.
  const text = JSON.stringify([PURPOSE, key, tenant, expires]);
  return createHmac('sha256', secret).update(text).digest();
}

/** Compares the texts, because decoding would accept several spellings of one signature. */
function equal(signature: string, expected: Buffer): boolean {
  const given = Buffer.from(signature);
  const wanted = Buffer.from(expected.toString('base64url'));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/**
 * Downloads without an API key: who holds the address may read one blob until a time.
 *
 * Signed are key, tenant and expiry (HMAC-SHA256). The tenant is not in the address: the reader of it takes the tenant of
 * the record that it finds, so that an address stops working when its blob changes hands.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** Of the secret: as many as the hash has. */
export const MIN_SECRET_BYTES = 32;
/** Parts the signatures of this use, and of this form, from all others made with the same secret. */
const PURPOSE = 'sluice.download.v1';
/** Seconds since the Unix epoch; ends in the year 5138. */
const EXPIRES = /^[1-9][0-9]{0,10}$/;

export interface Download {
  key: string;
  tenant: string;
}

/** What the address carries, as its query has it. */
export interface DownloadQuery {
  expires: string;
  signature: string;
}

/** `expiresSeconds`: since the Unix epoch, rounded up to whole seconds. The first of the secrets signs. */
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
 * `forged` whatever is wrong, `expired` only for what was once valid. Each of the secrets is good, so that they can be
 * rotated. Takes the same time wherever a signature differs.
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
  // As JSON, no two downloads are signed as the same text.
  const text = JSON.stringify([PURPOSE, key, tenant, expires]);
  return createHmac('sha256', secret).update(text).digest();
}

/** Compared as text: decoding would accept several spellings of one signature. */
function equal(signature: string, expected: Buffer): boolean {
  const given = Buffer.from(signature);
  const wanted = Buffer.from(expected.toString('base64url'));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

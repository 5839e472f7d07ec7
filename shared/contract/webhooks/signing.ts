/**
 * Signs webhooks by Standard Webhooks 1.0, with its reference library: HMAC-SHA256 over `id.timestamp.body`. A secret is `whsec_` and
 * base64.
 *
 * A secret that was replaced still signs beside the new one for `OVERLAP_MS`, so that receivers have time to change over.
 */
import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';

const SECRET_PREFIX = 'whsec_';
/** The standard asks for 24 to 64 bytes. */
const SECRET_BYTES = 32;
const OVERLAP_MS = 24 * 3_600_000;
/** Bounds the header: when more secrets are replaced within the overlap, the oldest stops signing early. */
const MAX_REPLACED = 4;

/** Newest first. `untilMs` is in milliseconds since the Unix epoch, and null for the current secret. */
export type SigningSecrets = readonly { secret: string; untilMs: number | null }[];

/** Returns a new random secret. */
export function newSigningSecret(): string {
  return SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64');
}

/** Returns the secrets of a new endpoint or tenant: one, without an end. */
export function newSigningSecrets(): SigningSecrets {
  return [{ secret: newSigningSecret(), untilMs: null }];
}

/** Returns the secrets after a rotation: a new one, and those that still overlap at `nowMs` (milliseconds since the Unix epoch). */
export function rotateSecrets(secrets: SigningSecrets, nowMs: number): SigningSecrets {
  const replaced = secrets.map((each) => ({ ...each, untilMs: each.untilMs ?? nowMs + OVERLAP_MS }));
  const overlapping = replaced.filter(({ untilMs }) => untilMs > nowMs).slice(0, MAX_REPLACED);
  return [...newSigningSecrets(), ...overlapping];
}

/** Returns the secrets that sign at `nowMs` (milliseconds since the Unix epoch), newest first. */
export function secretsAt(secrets: SigningSecrets, nowMs: number): string[] {
  return secrets.filter(({ untilMs }) => untilMs === null || untilMs > nowMs).map(({ secret }) => secret);
}

export interface SignedHeaders {
  'webhook-id': string;
  'webhook-timestamp': string;
  'webhook-signature': string;
}

/**
 * Returns the headers that sign `body`, with one signature for each secret. `id` stays the same over all attempts of a delivery;
 * `timestampSeconds` is the attempt's own, in whole seconds since the Unix epoch.
 */
export function sign(
  secrets: readonly string[],
  id: string,
  timestampSeconds: number,
  body: string,
): SignedHeaders {
  const at = new Date(timestampSeconds * 1000);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  };
}

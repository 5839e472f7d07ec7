/**
 * Signing as Standard Webhooks 1.0 has it: HMAC-SHA256 over `id.timestamp.body`, secrets `whsec_` + base64.
 *
 * A secret that was replaced goes on signing beside the new one for `OVERLAP_MS`, so that receivers can change over.
 */
import { createHmac, randomBytes } from 'node:crypto';

const SECRET_PREFIX = 'whsec_';
/** The standard asks for 24 to 64. */
const SECRET_BYTES = 32;
export const OVERLAP_MS = 24 * 3_600_000;
/** One more replaced secret, and the oldest is dropped before its time: headers are bounded. */
const MAX_REPLACED = 4;

/** Newest first; `untilMs` (Unix epoch) is null for the one that stands. */
export type SigningSecrets = readonly { secret: string; untilMs: number | null }[];

export function newSigningSecret(): string {
  return SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64');
}

export function newSigningSecrets(): SigningSecrets {
  return [{ secret: newSigningSecret(), untilMs: null }];
}

export function rotateSecrets(secrets: SigningSecrets, nowMs: number): SigningSecrets {
  const replaced = secrets.map((each) => ({ ...each, untilMs: each.untilMs ?? nowMs + OVERLAP_MS }));
  const overlapping = replaced.filter(({ untilMs }) => untilMs > nowMs).slice(0, MAX_REPLACED);
  return [...newSigningSecrets(), ...overlapping];
}

/** Those that sign now, the newest first. */
export function secretsAt(secrets: SigningSecrets, nowMs: number): string[] {
  return secrets.filter(({ untilMs }) => untilMs === null || untilMs > nowMs).map(({ secret }) => secret);
}

export interface SignedHeaders {
  'webhook-id': string;
  'webhook-timestamp': string;
  'webhook-signature': string;
}

/** `id` stays the same over all attempts; `timestampSeconds` is the attempt's own. One signature a secret, for rotation. */
export function sign(
  secrets: readonly string[],
  id: string,
  timestampSeconds: number,
  body: string,
): SignedHeaders {
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestampSeconds}.${body}`).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signatures.join(' '),
  };
}

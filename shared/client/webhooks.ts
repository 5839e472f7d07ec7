/**
 * The receiving side of webhooks: is this request from Sluice, unchanged and recent? (Standard Webhooks 1.0)
 *
 * Promises: what the signature covers is compared byte for byte and in constant time; nothing of the body is looked at
 * before; the result is what was signed. It throws a `WebhookVerificationError` and, for a body that somebody has parsed
 * already or a secret that is none, a `TypeError`: that is a fault of the receiver, not of the request.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { systemClock } from '../base/clock.js';

export interface WebhookEvent {
  /** What happened, as in `job.succeeded`. */
  type: string;
  /** When it happened, RFC 3339. */
  timestamp: string;
  data: Record<string, unknown>;
}

export interface VerifyOptions {
  /** As it came over the wire: never parsed and written again. */
  body: string | Uint8Array;
  headers: Headers | Record<string, string | string[] | undefined>;
  /** Several while a secret is being replaced: any of them will do. */
  secret: string | readonly string[];
  /** How far the attempt's time may lie from ours, before or after. */
  toleranceSeconds?: number;
  /** Milliseconds since the Unix epoch. */
  now?: () => number;
}

const FAULTS = {
  missing_header: 'One of webhook-id, webhook-timestamp and webhook-signature is missing.',
  malformed_timestamp: 'The webhook-timestamp is not a number of seconds.',
  timestamp_too_old: 'The webhook-timestamp is too old: an old request sent again, or a clock that is off.',
  timestamp_too_new: 'The webhook-timestamp is in the future: a clock is off.',
  no_matching_signature: 'No signature fits: another secret, another sender, or the body is not the raw one.',
  malformed_body: 'The body is signed but is not JSON.',
} as const;

export type WebhookFault = keyof typeof FAULTS;

export class WebhookVerificationError extends Error {
  override readonly name = 'WebhookVerificationError';
  readonly reason: WebhookFault;

  constructor(reason: WebhookFault) {
    super(FAULTS[reason]);
    this.reason = reason;
  }
}

const TOLERANCE_SECONDS = 300;
const SECRET_PREFIX = 'whsec_';
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;
/** Others are skipped: a sender may add signatures of a later version. */
const VERSION_PREFIX = 'v1,';

export function verifyWebhook(options: VerifyOptions): WebhookEvent {
  const { secret, toleranceSeconds = TOLERANCE_SECONDS, now = systemClock.now } = options;
  const body = bytesOf(options.body);
  const keys = keysOf(secret);

  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    headerOf(options.headers, name),
  );
  if (!id || !timestamp || !signatures) throw new WebhookVerificationError('missing_header');
  checkTimestamp(timestamp, Math.floor(now() / 1000), toleranceSeconds);

  const passed = signatures.split(' ').filter((signature) => signature.startsWith(VERSION_PREFIX));
  const isSigned = keys.some((key) => {
    const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
    return passed.some((signature) => isEqual(signature.slice(VERSION_PREFIX.length), expected));
  });
  if (!isSigned) throw new WebhookVerificationError('no_matching_signature');
  return parse(body);
}

/** The trap that receivers fall into: a middleware has parsed the body, and its bytes are gone. */
function bytesOf(body: string | Uint8Array): Buffer {
  if (typeof body === 'string') return Buffer.from(body);
  if (ArrayBuffer.isView(body)) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  throw new TypeError('verifyWebhook takes the raw body, a string or bytes, and not what was parsed from it');
}

/** Often it is unset where the receiver runs. */
function keysOf(secret: VerifyOptions['secret'] | undefined): Buffer[] {
  const secrets = typeof secret === 'string' ? [secret] : (secret ?? []);
  if (secrets.length === 0 || secrets.some((each) => !each))
    throw new TypeError('verifyWebhook was given no secret');
  return secrets.map(keyOf);
}

function keyOf(secret: string): Buffer {
  const text = String(secret).startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : String(secret);
  const key = Buffer.from(text, 'base64');
  // Buffer reads over whatever is no base64: a space that was pasted with it, say.
  if (key.toString('base64') === text && key.length >= MIN_SECRET_BYTES && key.length <= MAX_SECRET_BYTES)
    return key;
  throw new TypeError(
    'verifyWebhook takes a secret of "whsec_" and 24 to 64 bytes in base64, and this is none',
  );
}

/** Whatever the case of its name; one that came several times is joined as HTTP has it, and then fits nothing. */
function headerOf(headers: VerifyOptions['headers'], name: string): string | undefined {
  if (typeof headers.get === 'function') return headers.get(name) ?? undefined;
  const [, value] = Object.entries(headers).find(([key]) => key.toLowerCase() === name) ?? [];
  return Array.isArray(value) ? value.join(', ') : value;
}

function checkTimestamp(text: string, nowSeconds: number, toleranceSeconds: number): void {
  if (!/^\d{1,15}$/.test(text)) throw new WebhookVerificationError('malformed_timestamp');
  const ageSeconds = nowSeconds - Number(text);
  // Put so that a tolerance which is no number lets nothing pass.
  if (Math.abs(ageSeconds) <= toleranceSeconds) return;
  throw new WebhookVerificationError(ageSeconds > 0 ? 'timestamp_too_old' : 'timestamp_too_new');
}

/** Of the texts, so that there is one way to write a signature. */
function isEqual(passed: string, expected: string): boolean {
  const [a, b] = [Buffer.from(passed), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function parse(body: Buffer): WebhookEvent {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new WebhookVerificationError('malformed_body');
  }
}

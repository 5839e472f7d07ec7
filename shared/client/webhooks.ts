/**
 * Verifies for a receiver that a request comes from Sluice, is unchanged and is recent (Standard Webhooks 1.0).
 *
 * Promises: the signature is compared byte for byte and in constant time; the body is parsed only after that; the result is
 * what was signed. A bad request throws a `WebhookVerificationError`. A mistake of the receiver, such as a body that was parsed
 * already or a malformed secret, throws a `TypeError`. The module needs no package, so receivers install nothing else.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { systemClock } from '../base/clock.js';

export interface WebhookEvent {
  /** The kind of event, such as `job.succeeded`. */
  type: string;
  /** The time of the event, RFC 3339. */
  timestamp: string;
  data: Record<string, unknown>;
}

export interface VerifyOptions {
  /** The raw body as it came over the wire, not one that was parsed and written again. */
  body: string | Uint8Array;
  headers: Headers | Record<string, string | string[] | undefined>;
  /** The secret, or several while one replaces another; one of them must fit. */
  secret: string | readonly string[];
  /** The largest difference between the attempt's time and ours, before or after; 300 unless set. */
  toleranceSeconds?: number;
  /** Returns the current time in milliseconds since the Unix epoch; the system's clock unless set. */
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

/** The reason of a `WebhookVerificationError`. */
export type WebhookFault = keyof typeof FAULTS;

/** The request is not a genuine, recent request of Sluice. Answer it with 401. */
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
/** Signatures of other versions are skipped, because a sender may add signatures of a later version. */
const VERSION_PREFIX = 'v1,';

/**
 * Returns the event of a request that Sluice has signed.
 *
 * @throws {WebhookVerificationError} when the request is not genuine or not recent; `reason` says which check failed
 * @throws {TypeError} when `body` is not the raw body, or `secret` is missing or malformed
 */
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

/** Detects the most common mistake of receivers: a middleware has parsed the body, and the signed bytes are gone. */
function bytesOf(body: string | Uint8Array): Buffer {
  if (typeof body === 'string') return Buffer.from(body);
  if (ArrayBuffer.isView(body)) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  throw new TypeError('verifyWebhook takes the raw body, a string or bytes, and not what was parsed from it');
}

/** Detects a missing secret, because its variable is often unset where the receiver runs. */
function keysOf(secret: VerifyOptions['secret'] | undefined): Buffer[] {
  const secrets = typeof secret === 'string' ? [secret] : (secret ?? []);
  if (secrets.length === 0 || secrets.some((each) => !each))
    throw new TypeError('verifyWebhook was given no secret');
  return secrets.map(decodeSecret);
}

function decodeSecret(secret: string): Buffer {
  const text = String(secret).startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : String(secret);
  const key = Buffer.from(text, 'base64');
  // Buffer skips characters that are not base64, such as a space that was pasted with the secret.
  if (key.toString('base64') === text && key.length >= MIN_SECRET_BYTES && key.length <= MAX_SECRET_BYTES)
    return key;
  throw new TypeError(
    'verifyWebhook takes a secret of "whsec_" and 24 to 64 bytes in base64, and this is none',
  );
}

/** Finds a header whatever the case of its name. Several headers of one name are joined as in HTTP, and then fit no signature. */
function headerOf(headers: VerifyOptions['headers'], name: string): string | undefined {
  if (typeof headers.get === 'function') return headers.get(name) ?? undefined;
  const [, value] = Object.entries(headers).find(([key]) => key.toLowerCase() === name) ?? [];
  return Array.isArray(value) ? value.join(', ') : value;
}

function checkTimestamp(text: string, nowSeconds: number, toleranceSeconds: number): void {
  if (!/^\d{1,15}$/.test(text)) throw new WebhookVerificationError('malformed_timestamp');
  const ageSeconds = nowSeconds - Number(text);
  // The comparison is written so that a tolerance of NaN lets nothing pass.
  if (Math.abs(ageSeconds) <= toleranceSeconds) return;
  throw new WebhookVerificationError(ageSeconds > 0 ? 'timestamp_too_old' : 'timestamp_too_new');
}

/** Compares the base64 texts, so that a signature has only one valid spelling. */
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

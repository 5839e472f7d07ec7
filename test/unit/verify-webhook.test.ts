import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import {
  type VerifyOptions,
  verifyWebhook,
  type WebhookFault,
  WebhookVerificationError,
} from '../../shared/client/webhooks.js';
import { newSigningSecret, sign } from '../../shared/contract/webhooks/signing.js';

/** The test vector that the libraries of the standard publish. */
const VECTOR = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  seconds: 1614265330,
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};
const { secret: SECRET, body: BODY, seconds: SECONDS } = VECTOR;
const OTHER_SIGNATURE = 'v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=';
const HEADERS = {
  'webhook-id': VECTOR.id,
  'webhook-timestamp': String(SECONDS),
  'webhook-signature': VECTOR.signature,
};

/** Verifies the published request, with changes, at the second in which it was signed. */
const verify = (change: Partial<VerifyOptions> = {}) =>
  verifyWebhook({ body: BODY, headers: HEADERS, secret: SECRET, now: () => SECONDS * 1000, ...change });

const withHeader = (name: keyof typeof HEADERS, value: string | undefined) => ({
  headers: { ...HEADERS, [name]: value },
});
const signedBy = (value: string) => withHeader('webhook-signature', value);

function reasonOf(change: Partial<VerifyOptions>): WebhookFault | 'verified' {
  try {
    verify(change);
    return 'verified';
  } catch (error) {
    if (error instanceof WebhookVerificationError) return error.reason;
    throw error;
  }
}

const at = (offsetSeconds: number) => ({ now: () => (SECONDS + offsetSeconds) * 1000 });

describe('verifyWebhook', () => {
  test('returns what was signed', () => {
    expect(verify()).toEqual({ test: 2432232314 });
  });

  const VERIFIED: [string, Partial<VerifyOptions>][] = [
    ['bytes', { body: new TextEncoder().encode(BODY) }],
    ['a part of a larger buffer', { body: Buffer.from(`  ${BODY} `).subarray(2, 2 + BODY.length) }],
    ['Fetch headers', { headers: new Headers(HEADERS) }],
    [
      'header names in capitals',
      {
        headers: Object.fromEntries(
          Object.entries(HEADERS).map(([name, value]) => [name.toUpperCase(), value]),
        ),
      },
    ],
    [
      'headers as lists of one',
      { headers: Object.fromEntries(Object.entries(HEADERS).map(([name, value]) => [name, [value]])) },
    ],
    ['a secret without its prefix', { secret: SECRET.slice('whsec_'.length) }],
    ['an old secret beside a new one', { secret: [newSigningSecret(), SECRET] }],
    ['a new secret beside an old one', { secret: [SECRET, newSigningSecret()] }],
    [
      'one fitting signature among others and other versions',
      signedBy(
        [OTHER_SIGNATURE, OTHER_SIGNATURE.replace('v1', 'v2'), VECTOR.signature, OTHER_SIGNATURE].join(' '),
      ),
    ],
    ['a signature by public key beside it', signedBy(`v1a,${'A'.repeat(86)}== ${VECTOR.signature}`)],
    ['300 s late', at(300)],
    ['300 s early', at(-300)],
    ['a wider tolerance', { ...at(3000), toleranceSeconds: 3600 }],
    ['any time', { ...at(1e9), toleranceSeconds: Number.POSITIVE_INFINITY }],
  ];
  test.each(VERIFIED)('takes %s', (_, change) => {
    expect(reasonOf(change)).toBe('verified');
  });

  const REFUSED: [string, WebhookFault, Partial<VerifyOptions>][] = [
    ['no headers', 'missing_header', { headers: {} }],
    ['no Fetch headers', 'missing_header', { headers: new Headers() }],
    ['no id', 'missing_header', withHeader('webhook-id', undefined)],
    ['an empty id', 'missing_header', withHeader('webhook-id', '')],
    ['no timestamp', 'missing_header', withHeader('webhook-timestamp', undefined)],
    ['no signature', 'missing_header', signedBy('')],
    ['a timestamp in words', 'malformed_timestamp', withHeader('webhook-timestamp', 'hello')],
    ['a timestamp and more', 'malformed_timestamp', withHeader('webhook-timestamp', `${SECONDS}s`)],
    ['a timestamp with a sign', 'malformed_timestamp', withHeader('webhook-timestamp', `+${SECONDS}`)],
    ['a timestamp of a fraction', 'malformed_timestamp', withHeader('webhook-timestamp', `${SECONDS}.0`)],
    ['a timestamp without end', 'malformed_timestamp', withHeader('webhook-timestamp', '9'.repeat(400))],
    ['301 s late', 'timestamp_too_old', at(301)],
    ['six minutes late', 'timestamp_too_old', at(360)],
    ['301 s early', 'timestamp_too_new', at(-301)],
    ['six minutes early', 'timestamp_too_new', at(-360)],
    ['a narrower tolerance', 'timestamp_too_old', { ...at(2), toleranceSeconds: 1 }],
    ['a tolerance that is no number', 'timestamp_too_new', { toleranceSeconds: Number.NaN }],
    ['milliseconds for seconds', 'timestamp_too_new', withHeader('webhook-timestamp', `${SECONDS}000`)],
    ['another body', 'no_matching_signature', { body: `${BODY} ` }],
    ['an empty body', 'no_matching_signature', { body: '' }],
    ['another id', 'no_matching_signature', withHeader('webhook-id', 'msg_1')],
    ['another time', 'no_matching_signature', withHeader('webhook-timestamp', String(SECONDS + 1))],
    ['a zero before the time', 'no_matching_signature', withHeader('webhook-timestamp', `0${SECONDS}`)],
    ['another secret', 'no_matching_signature', { secret: newSigningSecret() }],
    ['a wrong signature', 'no_matching_signature', signedBy(OTHER_SIGNATURE)],
    ['a signature that is no base64', 'no_matching_signature', signedBy('v1,dawfeoifkpqwoekfpqoekf')],
    ['a part of the signature', 'no_matching_signature', signedBy(VECTOR.signature.slice(0, 8))],
    ['a version alone', 'no_matching_signature', signedBy('v1,')],
    ['a comma alone', 'no_matching_signature', signedBy(',')],
    ['spaces alone', 'no_matching_signature', signedBy('   ')],
    ['no version', 'no_matching_signature', signedBy(VECTOR.signature.slice('v1,'.length))],
    ['another version', 'no_matching_signature', signedBy(VECTOR.signature.replace('v1', 'v2'))],
    ['a version in capitals', 'no_matching_signature', signedBy(VECTOR.signature.replace('v1', 'V1'))],
    ['a longer version', 'no_matching_signature', signedBy(VECTOR.signature.replace('v1', 'v1a'))],
    ['something after the signature', 'no_matching_signature', signedBy(`${VECTOR.signature},more`)],
    ['a letter of the signature in another script', 'no_matching_signature', signedBy('v1,ɡ0hM9SsE')],
    [
      'two timestamps',
      'malformed_timestamp',
      { headers: { ...HEADERS, 'webhook-timestamp': [String(SECONDS), String(SECONDS)] } },
    ],
    ['two ids', 'no_matching_signature', { headers: { ...HEADERS, 'webhook-id': [VECTOR.id, VECTOR.id] } }],
  ];
  test.each(REFUSED)('refuses %s: %s', (_, reason, change) => {
    expect(reasonOf(change)).toBe(reason);
  });

  test('says so when what is signed is no JSON', () => {
    expect(reasonOf({ body: 'hello', headers: { ...sign([SECRET], 'dlv_1', SECONDS, 'hello') } })).toBe(
      'malformed_body',
    );
  });

  test.each([[{ test: 2432232314 }], [undefined], [null]])(
    'tells the receiver that its body was parsed: %j',
    (body) => {
      expect(() => verify({ body: body as unknown as string })).toThrow(TypeError);
    },
  );

  const NO_SECRETS: [string, unknown, RegExp][] = [
    ['none', undefined, /no secret/],
    ['an empty one', '', /no secret/],
    ['an empty list', [], /no secret/],
    ['undefined in a list', [undefined], /no secret/],
    ['null in a list', [null], /no secret/],
    ['a prefix alone', 'whsec_', /24 to 64 bytes/],
    ['one that is no base64', `whsec_${'?'.repeat(32)}`, /24 to 64 bytes/],
    ['one with a line break', `${SECRET}\n`, /24 to 64 bytes/],
    ['half of one', SECRET.slice(0, 22), /24 to 64 bytes/],
    ['one of 65 bytes', Buffer.alloc(65, 1).toString('base64'), /24 to 64 bytes/],
    ['a bad one beside a good one', [SECRET, 'whsec_'], /24 to 64 bytes/],
  ];
  test.each(NO_SECRETS)('tells the receiver that its secret is none: %s', (_, secret, message) => {
    const verifying = () => verify({ secret: secret as string });
    expect(verifying).toThrow(TypeError);
    expect(verifying).toThrow(message);
  });

  test('takes the time of the system unless told', () => {
    const headers = sign([SECRET], 'dlv_1', Math.floor(Date.now() / 1000), BODY);
    expect(verifyWebhook({ body: BODY, headers: { ...headers }, secret: SECRET })).toEqual(JSON.parse(BODY));
    expect(reasonOf({ now: undefined as unknown as () => number })).toBe('timestamp_too_old');
  });

  test('verifies what the stock package signs', () => {
    const signature = new Webhook(SECRET).sign('msg_1', new Date(SECONDS * 1000), BODY);
    expect(reasonOf({ headers: { ...HEADERS, 'webhook-id': 'msg_1', 'webhook-signature': signature } })).toBe(
      'verified',
    );
  });
});

describe('what we sign', () => {
  const secrets = fc.uint8Array({ minLength: 24, maxLength: 64 }).map((key) => {
    return `whsec_${Buffer.from(key).toString('base64')}`;
  });
  const message = fc.record({
    secrets: fc.array(secrets, { minLength: 1, maxLength: 3 }),
    id: fc.stringMatching(/^[a-z]{3}_[0-9A-Za-z]{1,30}$/),
    seconds: fc.integer({ min: 0, max: 4e9 }),
    body: fc.json(),
    // The first number selects the byte to change, the second the change.
    place: fc.nat(),
    change: fc.integer({ min: 1, max: 255 }),
  });

  test('verifies with each of its secrets, and with no other', () => {
    fc.assert(
      fc.property(message, secrets, ({ secrets, id, seconds, body }, other) => {
        fc.pre(!secrets.includes(other));
        const request = {
          body,
          headers: { ...sign(secrets, id, seconds, body) },
          now: () => seconds * 1000 + 999,
        };
        for (const secret of secrets) expect(verifyWebhook({ ...request, secret })).toEqual(JSON.parse(body));
        expect(() => verifyWebhook({ ...request, secret: other })).toThrow(WebhookVerificationError);
      }),
      { numRuns: 200 },
    );
  });

  test.each(['webhook-id', 'webhook-timestamp', 'webhook-signature', 'body'] as const)(
    'does not once a single byte of its %s is changed',
    (part) => {
      fc.assert(
        fc.property(message, ({ secrets: [secret = ''], id, seconds, body, place, change }) => {
          const parts = { ...sign([secret], id, seconds, body), body };
          const bytes = Buffer.from(parts[part]);
          bytes.writeUInt8((bytes[place % bytes.length] as number) ^ change, place % bytes.length);
          const { body: sent, ...headers } = {
            ...parts,
            [part]: part === 'body' ? bytes : bytes.toString('latin1'),
          };
          expect(() => verifyWebhook({ body: sent, headers, secret, now: () => seconds * 1000 })).toThrow(
            WebhookVerificationError,
          );
        }),
        { numRuns: 500 },
      );
    },
  );
});

/** Signing: the published vector, and the same bytes as an independent HMAC. */
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { newSigningSecret, sign } from '../../shared/contract/webhooks/signing.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const BODY = '{"test": 2432232314}';
const nowSeconds = () => Math.floor(Date.now() / 1000);

describe('sign', () => {
  test('makes the published vector', () => {
    expect(sign([SECRET], 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, BODY)).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('signs the same bytes as node:crypto, with each secret in its order', () => {
    const hmac = (secret: string, signed: string) =>
      createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
        .update(signed)
        .digest('base64');
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 24, maxLength: 64 }), { minLength: 1, maxLength: 5 }),
        fc.string({ unit: 'binary' }),
        fc.integer({ min: 0, max: 4e9 }),
        (keys, body, seconds) => {
          const secrets = keys.map((key) => `whsec_${Buffer.from(key).toString('base64')}`);
          const signed = `dlv_1.${seconds}.${body}`;
          expect(sign(secrets, 'dlv_1', seconds, body)['webhook-signature']).toBe(
            secrets.map((secret) => `v1,${hmac(secret, signed)}`).join(' '),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  test('passes the stock verifier, with any of several secrets', () => {
    const secrets = [newSigningSecret(), newSigningSecret()];
    const headers = sign(secrets, 'dlv_1', nowSeconds(), BODY);
    for (const secret of secrets) expect(new Webhook(secret).verify(BODY, { ...headers })).toBeTruthy();
    expect(() => new Webhook(newSigningSecret()).verify(BODY, { ...headers })).toThrow();
  });

  const signedAt = nowSeconds();
  test.each([
    ['another body', {}, `${BODY} `],
    ['another id', { 'webhook-id': 'dlv_2' }, BODY],
    ['another time', { 'webhook-timestamp': String(signedAt + 7) }, BODY],
    ['half a signature', { 'webhook-signature': 'v1,g0hM9SsE' }, BODY],
  ])('does not cover %s', (_, change, body) => {
    const headers = sign([SECRET], 'dlv_1', signedAt, BODY);
    expect(() => new Webhook(SECRET).verify(body, { ...headers, ...change })).toThrow();
  });

  test.each([-360, 360])('is refused %i s off', (offset) => {
    const headers = sign([SECRET], 'dlv_1', nowSeconds() + offset, BODY);
    expect(() => new Webhook(SECRET).verify(BODY, { ...headers })).toThrow();
  });

  test('secrets are 32 random bytes', () => {
    const secret = newSigningSecret();
    expect(Buffer.from(secret.slice('whsec_'.length), 'base64')).toHaveLength(32);
    expect(newSigningSecret()).not.toBe(secret);
  });
});

/**
 * Checks our signatures with the verifiers of others, because receivers bring their own.
 */
import OpenAI from 'openai';
import { validateWebhook } from 'replicate';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { verifyWebhook } from '../../shared/client/webhooks.js';
import { newSigningSecret, type SignedHeaders, sign } from '../../shared/contract/webhooks/signing.js';

interface Sent {
  body: string;
  headers: Record<keyof SignedHeaders, string>;
}

/** Each verifier rejects, or resolves to something other than true, when the request is not genuine. */
const VERIFIERS: Record<string, (request: Sent, secret: string) => unknown> = {
  standardwebhooks: ({ body, headers }, secret) => new Webhook(secret).verify(body, headers),
  replicate: ({ body, headers }, secret) =>
    validateWebhook(new Request('http://receiver.test/', { method: 'POST', headers, body }), secret),
  openai: ({ body, headers }, secret) =>
    new OpenAI({ apiKey: 'none' }).webhooks.unwrap(body, headers, secret),
  'shared/client': ({ body, headers }, secret) => verifyWebhook({ body, headers, secret }),
};

async function takes(name: string, request: Sent, secret: string): Promise<boolean> {
  try {
    return Boolean(await VERIFIERS[name]?.(request, secret));
  } catch {
    return false;
  }
}

const BODY =
  '{"type":"job.succeeded","timestamp":"2026-11-25T12:00:00.000Z","data":{"id":"job_ü","n":[1,2]}}';
const [NEW, OLD] = [newSigningSecret(), newSigningSecret()];
const nowSeconds = Math.floor(Date.now() / 1000);
const signed = (seconds = nowSeconds): Sent => ({
  body: BODY,
  headers: { ...sign([NEW, OLD], 'dlv_1', seconds, BODY) },
});
const withHeader = (name: keyof SignedHeaders, change: (value: string) => string): Sent => {
  const { body, headers } = signed();
  return { body, headers: { ...headers, [name]: change(headers[name]) } };
};

describe.each(Object.keys(VERIFIERS))('%s', (name) => {
  test.each([
    ['new', NEW],
    ['old', OLD],
  ])('takes a request signed during a rotation by its %s secret', async (_, secret) => {
    expect(await takes(name, signed(), secret)).toBe(true);
  });

  test('does not take it by any other', async () => {
    expect(await takes(name, signed(), newSigningSecret())).toBe(false);
  });

  test.each<[string, Sent]>([
    ['body', { ...signed(), body: BODY.replace('[1,2]', '[1,3]') }],
    ['id', withHeader('webhook-id', () => 'dlv_2')],
    ['time', withHeader('webhook-timestamp', (value) => String(Number(value) + 1))],
    [
      'signatures',
      withHeader('webhook-signature', (value) =>
        value.replace(/v1,(.)/g, (_, first) => `v1,${first === 'A' ? 'B' : 'A'}`),
      ),
    ],
  ])('does not take one of another %s', async (_, request) => {
    for (const secret of [NEW, OLD]) expect(await takes(name, request, secret)).toBe(false);
  });
});

// Replicate's package does not check the timestamp.
test.each(Object.keys(VERIFIERS).filter((name) => name !== 'replicate'))(
  '%s does not take one of six minutes ago, nor from six minutes ahead',
  async (name) => {
    for (const offset of [-360, 360]) expect(await takes(name, signed(nowSeconds + offset), NEW)).toBe(false);
  },
);

/**
 * Webhook endpoints over HTTP: the contract, scopes, tenants, and a day in the life of a receiver.
 */
import { randomBytes } from 'node:crypto';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { Redis } from 'ioredis';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import type { Principal } from '../../shared/contract/access.js';
import { deliveryViewSchema, wholeDeliveryViewSchema } from '../../shared/contract/webhooks/delivery.js';
import { endpointViewSchema } from '../../shared/contract/webhooks/endpoint.js';
import { createApiKeys } from '../../shared/core/access/api-keys.js';
import { createKeys } from '../../shared/redis/keys.js';
import { openReceiver, type Receiver } from '../support/receiver.js';
import { type Answer, type Stack, startStack } from '../support/stack.js';

const DIGIT = { model: 'mnist', instances: [new Array(784).fill(0)] };
const PATH = '/v1/webhook-endpoints';

let stack: Stack;
let receiver: Receiver;
let status = 204;
const keys: Record<string, string> = {};

beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), {
    SLUICE_MODELS: 'mnist',
    SLUICE_MAX_ENDPOINTS_PER_TENANT: '5',
  });
  receiver = await openReceiver((response) => void response.writeHead(status).end('thanks'));
  await stack.ready();
  const redis = new Redis(inject('redisUrl'));
  const apiKeys = createApiKeys({ redis, keys: createKeys(stack.prefix), clock: systemClock });
  const people: Record<string, [string, Principal['scopes']]> = {
    other: ['other', ['*']],
    reader: ['default', ['webhooks:read']],
    submitter: ['default', ['jobs:write']],
  };
  for (const [name, [tenant, scopes]] of Object.entries(people)) {
    keys[name] = `slk_${randomBytes(16).toString('hex')}`;
    await apiKeys.addKey(keys[name], tenant, scopes);
  }
  redis.disconnect();
});
afterAll(async () => {
  await stack?.close();
  await receiver?.close();
});

afterEach(async () => {
  const { data } = (await stack.request('GET', PATH)).body;
  for (const { id } of data) expect((await stack.request('DELETE', `${PATH}/${id}`)).status).toBe(204);
  status = 204;
});

const as = (name: string) => ({ authorization: `Bearer ${keys[name]}` });
const create = (body: object = {}, headers = {}) =>
  stack.request('POST', PATH, { url: receiver.url, ...body }, headers);

function fits(schema: object, value: unknown): void {
  const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(schema);
  expect([validate(value), validate.errors]).toEqual([true, null]);
}

async function created(body: object = {}): Promise<{ id: string; secret: string; path: string }> {
  const answer = await create(body);
  expect(answer.status).toBe(201);
  return { ...answer.body, path: `${PATH}/${answer.body.id}` };
}

/** Returns what an endpoint has received, once `count` requests have come. */
async function cameTo(secret: string, count: number) {
  const verified = () =>
    receiver.received.flatMap(({ body, headers }) => {
      try {
        return [
          { id: headers['webhook-id'], event: new Webhook(secret).verify(body, headers) as { type: string } },
        ];
      } catch {
        return [];
      }
    });
  await expect.poll(() => verified().length, { timeout: 15_000 }).toBe(count);
  return verified();
}

describe('an endpoint', () => {
  it('is made, shown without its secret, listed, changed and deleted', async () => {
    const made = await create({ description: 'orders', events: ['job.failed'] });
    expect(made.status).toBe(201);
    const { secret, ...endpoint } = made.body;
    expect(made.headers.get('location')).toBe(`${PATH}/${endpoint.id}`);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    fits(endpointViewSchema, endpoint);
    expect(endpoint).toMatchObject({
      url: receiver.url,
      description: 'orders',
      enabled: true,
      events: ['job.failed'],
    });
    const path = `${PATH}/${endpoint.id}`;
    expect((await stack.request('GET', path)).body).toEqual(endpoint);
    expect((await stack.request('GET', PATH)).body).toEqual({ data: [endpoint], nextCursor: null });

    const changed = await stack.request('PATCH', path, { enabled: false, description: '' });
    expect(changed.body).toMatchObject({
      enabled: false,
      disabledReason: 'paused',
      description: '',
      events: ['job.failed'],
    });
    expect((await stack.request('DELETE', path)).status).toBe(204);
    expect((await stack.request('GET', path)).status).toBe(404);
    expect(stack.output()).not.toContain(secret);
  });

  it('is one for one Idempotency-Key, also when the answer was lost', async () => {
    const headers = { 'idempotency-key': randomBytes(8).toString('hex') };
    const first = await create({}, headers);
    const second = await create({}, headers);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect([second.status, second.body]).toEqual([201, first.body]);
    expect((await create({ description: 'another' }, headers)).body.code).toBe('idempotency_key_reused');
  });

  it.each<[string, object, number, string, string]>([
    ['an unknown field', { headers: { 'webhook-id': 'x' } }, 400, 'unknown_field', '/headers'],
    ['an unknown event', { events: ['job.done'] }, 422, 'invalid_input', '/events/0'],
    ['no events', { events: [] }, 422, 'invalid_input', '/events'],
    ['a private address', { url: 'https://10.0.0.1/' }, 422, 'url_not_allowed', '/url'],
    ['plain http', { url: 'http://1.1.1.1/' }, 422, 'url_not_allowed', '/url'],
    ['no URL', { url: 'x' }, 422, 'url_not_allowed', '/url'],
  ])('is refused for %s', async (_, body, code, name, path) => {
    const answer = await create(body);
    expect([answer.status, answer.body.code, answer.body.errors[0].path]).toEqual([code, name, path]);
    const { path: existing } = await created();
    const patched = await stack.request('PATCH', existing, body);
    expect([patched.status, patched.body.code, patched.body.errors[0].path]).toEqual([code, name, path]);
  });

  it('is one of a bounded number', async () => {
    for (let i = 0; i < 5; i++) await created();
    const over = await create();
    expect([over.status, over.body.code]).toEqual([429, 'too_many_endpoints']);
  });
});

describe('who may', () => {
  const calls: [string, string, object | undefined][] = [
    ['GET', '', undefined],
    ['PATCH', '', { enabled: false }],
    ['DELETE', '', undefined],
    ['POST', '/rotate-secret', undefined],
    ['POST', '/test', undefined],
    ['GET', '/deliveries', undefined],
    ['POST', '/replay', { from: '2026-01-01T00:00:00Z' }],
  ];

  it('finds nothing of another tenant, as if there were none', async () => {
    const { path } = await created();
    const tested = await stack.request('POST', `${path}/test`);
    const told = `/v1/deliveries/${tested.body.id}`;
    const paths = [
      ...calls.map(([method, rest, body]) => [method, path + rest, body] as const),
      ['GET', told, undefined] as const,
      ['POST', `${told}/replay`, undefined] as const,
    ];
    for (const [method, at, body] of paths) {
      const foreign = await stack.request(method, at, body, as('other'));
      const random = await stack.request(
        method,
        at.replace(/_[^/]+/, `_${'0'.repeat(36)}`),
        body,
        as('other'),
      );
      const strip = ({ status: code, body: { requestId: _, instance: __, ...rest } }: Answer) => [code, rest];
      expect(foreign.status, `${method} ${at}`).toBe(404);
      expect(strip(foreign)).toEqual(strip(random));
    }
    expect((await stack.request('GET', PATH, undefined, as('other'))).body.data).toEqual([]);
    expect((await stack.request('GET', path)).body.enabled).toBe(true);
  });

  it('needs the scope of the call', async () => {
    const { path } = await created();
    for (const [method, rest, body] of calls) {
      const asReader = await stack.request(method, path + rest, body, as('reader'));
      expect(asReader.status, `${method} ${rest}`).toBe(method === 'GET' ? 200 : 403);
      expect((await stack.request(method, path + rest, body, as('submitter'))).status).toBe(403);
    }
    expect((await create({}, as('reader'))).status).toBe(403);
    expect((await stack.request('POST', '/v1/webhook-secret/rotate', undefined, as('reader'))).status).toBe(
      403,
    );
    expect((await stack.request('GET', '/v1/webhook-secret', undefined, as('reader'))).status).toBe(403);
  });
});

describe('a receiver', () => {
  it('is told, seen attempt by attempt, told again, and changes its secret', async () => {
    const { id, secret, path } = await created({ includePredictions: true });
    const job = await stack.request('POST', '/v1/jobs?wait=20', DIGIT);
    const [came] = await cameTo(secret, 1);
    expect(came?.event).toMatchObject({
      type: 'job.succeeded',
      data: { id: job.body.id, predictions: job.body.predictions },
    });

    await expect
      .poll(async () => (await stack.request('GET', `${path}/deliveries?status=delivered`)).body.data.length)
      .toBe(1);
    const [listed] = (await stack.request('GET', `${path}/deliveries`)).body.data;
    fits(deliveryViewSchema, listed);
    expect(listed).toMatchObject({
      id: came?.id,
      endpoint: id,
      job: job.body.id,
      status: 'delivered',
      attemptCount: 1,
    });
    const whole = (await stack.request('GET', `/v1/deliveries/${came?.id}`)).body;
    fits(wholeDeliveryViewSchema, whole);
    expect(whole.attempts).toMatchObject([{ status: 204, error: null }]);
    expect(whole.payload).toEqual(came?.event);
    for (const bad of ['status=done', 'type=x', 'from=x', 'cursor=x', 'limit=0'])
      expect((await stack.request('GET', `${path}/deliveries?${bad}`)).status, bad).toBe(422);

    const replayed = await stack.request('POST', `/v1/deliveries/${came?.id}/replay`);
    expect([replayed.status, replayed.body.status]).toEqual([202, 'pending']);
    expect((await cameTo(secret, 2)).map((each) => each.id)).toEqual([came?.id, came?.id]);

    const rotated = await stack.request('POST', `${path}/rotate-secret`);
    expect(rotated.status).toBe(200);
    expect(rotated.body.secret).not.toBe(secret);
    const tested = await stack.request('POST', `${path}/test`);
    expect(tested).toMatchObject({ status: 202, body: { type: 'endpoint.test', endpoint: id } });
    expect(await cameTo(rotated.body.secret, 1)).toMatchObject([{ id: tested.body.id }]);
    await cameTo(secret, 3);
    expect((await stack.request('DELETE', path)).status).toBe(204);
    expect((await stack.request('GET', `/v1/deliveries/${came?.id}`)).status).toBe(404);
  });

  it('that says it is gone is told no more, and all that failed once it is back', async () => {
    status = 410;
    const { secret, path } = await created();
    const from = new Date(Date.now() - 60_000).toISOString();
    await stack.request('POST', '/v1/jobs?wait=20', DIGIT);
    await expect.poll(async () => (await stack.request('GET', path)).body.disabledReason).toBe('gone');
    status = 204;
    await stack.request('POST', '/v1/jobs?wait=20', DIGIT);
    await expect
      .poll(async () => (await stack.request('GET', `${path}/deliveries?status=pending`)).body.data.length)
      .toBe(1);
    expect((await stack.request('PATCH', path, { enabled: true })).body.enabled).toBe(true);
    await cameTo(secret, 2);
    const again = await stack.request('POST', `${path}/replay`, { from });
    expect([again.status, again.body]).toEqual([202, { replayed: 1, nextCursor: null }]);
    expect(new Set((await cameTo(secret, 3)).map(({ id }) => id)).size).toBe(2);
    const before = new Date(Date.parse(from) - 1).toISOString();
    for (const body of [
      {},
      { from: 'x' },
      { from: from.replace('Z', '') },
      { from, to: before },
      { from, status: 'pending' },
      { from, cursor: 'x' },
    ])
      expect((await stack.request('POST', `${path}/replay`, body)).status, JSON.stringify(body)).toBe(422);
    const wrong = { form: from, to: 'x', status: 'pending', 'since~/': 1 };
    const { status: code, body } = await stack.request('POST', `${path}/replay`, wrong);
    expect([code, body.code]).toEqual([400, 'unknown_field']);
    expect(body.detail).toMatch(/^\/form: is not a field of this object \(and 4 more, see errors\)$/);
    expect(body.errors).toEqual([
      { path: '/form', message: 'is not a field of this object' },
      { path: '/since~0~1', message: 'is not a field of this object' },
      { path: '/from', message: 'is required' },
      { path: '/to', message: 'must be an RFC 3339 time' },
      { path: '/status', message: 'must be one of failed, delivered' },
    ]);
    const large = await stack.request('POST', `${path}/replay`, { from, x: 'x'.repeat(20_000) });
    expect(large.status).toBe(413);
  });

  it("of a single job has a log, too, and the tenant's own secret rotates", async () => {
    const before = (await stack.request('GET', '/v1/webhook-secret')).body.secret;
    const after = (await stack.request('POST', '/v1/webhook-secret/rotate')).body.secret;
    const job = await stack.request('POST', '/v1/jobs?wait=20', { ...DIGIT, webhook: { url: receiver.url } });
    await cameTo(after, 1);
    await cameTo(before, 1);
    const [listed] = (await stack.request('GET', '/v1/deliveries?limit=1')).body.data;
    expect(listed).toMatchObject({ endpoint: null, url: receiver.url, job: job.body.id });
    const range = { from: listed.createdAt, status: 'delivered' };
    const again = await stack.request('POST', '/v1/deliveries/replay', range);
    expect([again.status, again.body]).toEqual([202, { replayed: 1, nextCursor: null }]);
    expect((await cameTo(after, 2)).map(({ id }) => id)).toEqual([listed.id, listed.id]);
    expect((await stack.request('POST', '/v1/deliveries/replay', range, as('reader'))).status).toBe(403);
    expect((await stack.request('POST', '/v1/deliveries/replay', range, as('other'))).body.replayed).toBe(0);
    expect((await stack.request('GET', '/v1/webhook-secret')).body.secret).toBe(after);
  });
});

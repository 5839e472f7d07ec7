import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { addedKey } from '../support/added-key.js';
import { BOTH_MODELS, ROOT, type Stack, startStack } from '../support/stack.js';

const digit = (name: string) =>
  JSON.parse(readFileSync(join(ROOT, `deploy/models/mnist/examples/${name}.json`), 'utf8'));
const seven: number[] = digit('7').instances[0];
const argmax = (row: number[]) => row.indexOf(Math.max(...row));

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), BOTH_MODELS);
  await stack.ready();
});
afterAll(() => stack.close());

describe('a job', () => {
  it('is submitted, waited for and recognised', async () => {
    const { status, body, headers } = await stack.request('POST', '/v1/jobs', digit('7'), {
      prefer: 'wait=20',
    });
    expect(status).toBe(200);
    expect(headers.get('location')).toBe(`/v1/jobs/${body.id}`);
    expect(body).toMatchObject({
      object: 'job',
      status: 'succeeded',
      model: { name: 'mnist', version: 1, alias: 'latest' },
      error: null,
    });
    expect(argmax(body.predictions[0])).toBe(7);
    expect(body.timings).toMatchObject({ backend: 'wasm', batchSize: 1 });
  });

  it('is accepted at once, polled, listed, and told not to have changed', async () => {
    const submitted = await stack.request('POST', '/v1/jobs', {
      ...digit('several'),
      metadata: { order: '42' },
    });
    expect(submitted.status).toBe(202);
    const { id } = submitted.body;
    const done = await stack.request('GET', `/v1/jobs/${id}?wait=20`);
    expect(done.body).toMatchObject({
      id,
      status: 'succeeded',
      metadata: { order: '42' },
      queuePosition: null,
    });
    expect(done.body.predictions).toHaveLength(8);
    const again = await stack.request('GET', `/v1/jobs/${id}`, undefined, {
      'if-none-match': done.headers.get('etag') ?? '',
    });
    expect(again.status).toBe(304);
    for (const [query, path] of [
      ['statuss=failed', '?statuss'],
      ['status=failed&status=queued', '?status'],
    ]) {
      const { status, body } = await stack.request('GET', `/v1/jobs?${query}`);
      expect({ status, path: body.errors[0].path }).toEqual({ status: 422, path });
    }
    const list = await stack.request('GET', '/v1/jobs?status=succeeded&model=mnist&limit=1');
    expect(list.body.data.map((job: { id: string }) => job.id)).toEqual([id]);
    const next = await stack.request('GET', `/v1/jobs?limit=1&cursor=${list.body.nextCursor}`);
    expect(next.body.data[0].id).not.toBe(id);
  });

  it('larger than a batch is run in slices and joined in its order', async () => {
    const digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((label) => digit(String(label)).instances[0]);
    const instances = Array.from({ length: 75 }, (_, i) => digits[(i * 7) % 10]);
    const { body } = await stack.request(
      'POST',
      '/v1/jobs',
      { model: 'mnist@1', instances },
      { prefer: 'wait=30' },
    );
    expect(body.predictions.map(argmax)).toEqual(Array.from({ length: 75 }, (_, i) => (i * 7) % 10));
    expect(body.model).toEqual({ name: 'mnist', version: 1, alias: null });
  });

  it('takes an image as 28 × 28 and as raw bytes, with the same result', async () => {
    const square = Array.from({ length: 28 }, (_, row) => seven.slice(row * 28, row * 28 + 28));
    const raw = { b64: Buffer.from(new Float32Array(seven).buffer).toString('base64') };
    const { body } = await stack.request(
      'POST',
      '/v1/jobs',
      { model: 'mnist', instances: [seven, square, raw] },
      { prefer: 'wait=20' },
    );
    expect(body.predictions[1]).toEqual(body.predictions[0]);
    expect(body.predictions[2]).toEqual(body.predictions[0]);
  });

  it('turns a picture into one twice as large', async () => {
    const picture = JSON.parse(
      readFileSync(join(ROOT, 'deploy/models/upscale/examples/picture.json'), 'utf8'),
    );
    const { body } = await stack.request('POST', '/v1/jobs', picture, { prefer: 'wait=30' });
    expect(body.error).toBeNull();
    const size = (b64: string) => {
      const png = Buffer.from(b64, 'base64');
      return [png.readUInt32BE(16), png.readUInt32BE(20)];
    };
    const [width = 0, height = 0] = size(picture.instances[0].image.b64);
    expect(size(body.predictions[0].image.b64)).toEqual([2 * width, 2 * height]);
  });

  it('fails alone where its picture cannot be decoded, and partly where that is allowed', async () => {
    const picture = JSON.parse(
      readFileSync(join(ROOT, 'deploy/models/upscale/examples/picture.json'), 'utf8'),
    );
    const whole = Buffer.from(picture.instances[0].image.b64, 'base64');
    const cut = { image: { b64: whole.subarray(0, Math.floor(whole.length / 2)).toString('base64') } };
    const instances = [picture.instances[0], cut];
    const strict = await stack.request(
      'POST',
      '/v1/jobs',
      { model: 'upscale', instances },
      { prefer: 'wait=30' },
    );
    expect(strict.body).toMatchObject({ status: 'failed', predictions: null });
    expect(strict.body.error).toMatchObject({
      code: 'instances_failed',
      instanceErrors: [{ index: 1, code: 'invalid_image' }],
    });
    const partial = await stack.request(
      'POST',
      '/v1/jobs',
      { model: 'upscale', instances, allowPartial: true },
      { prefer: 'wait=30' },
    );
    expect(partial.body.status).toBe('succeeded');
    expect(partial.body.predictions[0].image.b64).toBeTypeOf('string');
    expect(partial.body.predictions[1]).toBeNull();
  });
});

describe('a submit', () => {
  it('with the same Idempotency-Key and body is the same job, with another body an error', async () => {
    const headers = { 'idempotency-key': 'order 42' };
    const first = await stack.request('POST', '/v1/jobs', digit('3'), headers);
    const again = await stack.request('POST', '/v1/jobs', digit('3'), { ...headers, prefer: 'wait=20' });
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(again.body).toMatchObject({ id: first.body.id, status: 'succeeded' });
    const other = await stack.request('POST', '/v1/jobs', digit('4'), headers);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
  });

  it('is one job however many come at once under one Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'all at once' };
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => stack.request('POST', '/v1/jobs', digit('5'), headers)),
    );
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
    expect(answers.filter(({ headers: each }) => each.get('idempotent-replayed') === null)).toHaveLength(1);
  });

  const refusals: [name: string, body: unknown, status: number, code: string, path?: string][] = [
    ['a literal NaN', '{"model":"mnist","instances":[[NaN]]}', 400, 'malformed_json'],
    ['an empty body', '', 400, 'malformed_json'],
    ['no object', '[]', 422, 'invalid_input'],
    [
      'an unknown field',
      { model: 'mnist', instances: [seven], tenantId: 'x' },
      400,
      'unknown_field',
      '/tenantId',
    ],
    [
      '__proto__',
      '{"model":"mnist","instances":[[1]],"__proto__":{"polluted":1}}',
      400,
      'unknown_field',
      '/__proto__',
    ],
    ['a missing field', { model: 'mnist' }, 422, 'invalid_input', '/instances'],
    ['an unknown model', { model: 'nothing', instances: [seven] }, 404, 'model_not_found'],
    ['an unknown version', { model: 'mnist@9', instances: [seven] }, 404, 'model_not_found'],
    [
      'a bad value',
      { model: 'mnist', instances: [seven, [...seven.slice(1), null]] },
      422,
      'invalid_input',
      '/instances/1/783',
    ],
    ['a wrong shape', { model: 'mnist', instances: [[1, 2]] }, 422, 'invalid_input', '/instances/0'],
    ['too deep a nesting', `{"model":"mnist","instances":${'['.repeat(200_000)}`, 400, 'malformed_json'],
    [
      'too many instances',
      { model: 'mnist', instances: Array(1025).fill(0) },
      422,
      'invalid_input',
      '/instances',
    ],
    [
      'a webhook to a private address',
      { model: 'mnist', instances: [seven], webhook: { url: 'https://10.0.0.1/' } },
      422,
      'url_not_allowed',
      '/webhook/url',
    ],
    [
      'no picture',
      { model: 'upscale', instances: [{ image: { b64: 'AAAA' } }] },
      422,
      'invalid_input',
      '/instances/0/image/b64',
    ],
    [
      'metadata of numbers',
      { model: 'mnist', instances: [seven], metadata: { a: 1 } },
      422,
      'invalid_input',
      '/metadata/a',
    ],
    [
      'a priority that does not exist',
      { model: 'mnist', instances: [seven], priority: 'urgent' },
      422,
      'invalid_input',
      '/priority',
    ],
  ];
  it.each(refusals)('with %s is refused at once', async (_, body, status, code, path) => {
    const answer = await stack.request('POST', '/v1/jobs', body);
    expect(answer.body).toMatchObject({ status, code });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    if (path) expect(answer.body.errors[0].path).toBe(path);
    expect(JSON.stringify(answer.body)).not.toMatch(/node_modules|\.js:\d/);
  });

  it('larger than the limit, or of another type or encoding, is refused', async () => {
    const large = await stack
      .request('POST', '/v1/jobs', `"${'x'.repeat(8 * 1024 * 1024)}"`)
      .catch(() => ({ status: 413 }));
    expect(large.status).toBe(413);
    const text = await stack.request('POST', '/v1/jobs', '{}', { 'content-type': 'text/plain' });
    expect(text.status).toBe(415);
    const zstd = await stack.request('POST', '/v1/jobs', '{}', { 'content-encoding': 'zstd' });
    expect(zstd.status).toBe(415);
    const garbage = await stack.request('POST', '/v1/jobs', 'not gzip', { 'content-encoding': 'gzip' });
    expect(garbage.status).toBe(400);
  });
});

describe('access', () => {
  it('needs a key', async () => {
    for (const authorization of ['', 'Bearer nothing', `Bearer slk_${'0'.repeat(32)}`]) {
      const answer = await stack.request('GET', '/v1/jobs', undefined, { authorization });
      expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  it("keeps another tenant's job from sight: 404 as for an id that does not exist", async () => {
    const { body } = await stack.request('POST', '/v1/jobs', digit('1'), { prefer: 'wait=20' });
    const scopes = ['jobs:read', 'jobs:write'] as const;
    const stranger = await addedKey(inject('redisUrl'), stack.prefix, 'other', scopes);
    const headers = { authorization: `Bearer ${stranger}` };
    const missing = await stack.request('GET', `/v1/jobs/${body.id.slice(0, -4)}0000`, undefined, headers);
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '?wait=1'],
      ['POST', '/cancel'],
    ] as const) {
      const answer = await stack.request(method, `/v1/jobs/${body.id}${path}`, undefined, headers);
      expect(answer.status).toBe(404);
      expect(answer.body.code).toBe(missing.body.code);
    }
    expect((await stack.request('GET', '/v1/jobs', undefined, headers)).body.data).toEqual([]);
    expect((await stack.request('GET', '/v1/models', undefined, headers)).body.code).toBe(
      'insufficient_scope',
    );
    const redis = new Redis(inject('redisUrl'));
    const keys = await redis.keys(`${stack.prefix}*${stack.key}*`);
    expect(keys, 'no key in clear').toEqual([]);
    redis.disconnect();
  });
});

describe('the contract', () => {
  it.each<[string, string, string[]]>([
    ['GET', '/v1/jobs?satus=failed', ['?satus']],
    ['GET', '/v1/jobs?status=failed&pagesize=5&order=asc', ['?pagesize', '?order']],
    ['HEAD', '/v1/jobs?satus=failed', []],
    ['POST', '/v1/jobs/retry?wait=1', ['?wait']],
    ['GET', `/v1/jobs/job_${'0'.repeat(36)}?timeout=3`, ['?timeout']],
    ['GET', '/v1/models/mnist?__proto__=1', ['?__proto__']],
    ['GET', '/v1/models?limit=5&cursor=x&name=mnist', ['?name']],
    ['GET', '/v1/deliveries?state=failed', ['?state']],
    ['POST', `/v1/jobs/job_${'0'.repeat(36)}/cancel?force=1`, ['?force']],
  ])('refuses a parameter that is none of the call: %s %s', async (method, path, unknown) => {
    const { status, body } = await stack.request(method, path);
    expect(status).toBe(422);
    if (unknown.length === 0) return;
    expect(body.code).toBe('invalid_input');
    expect(body.errors.map((fault: { path: string }) => fault.path)).toEqual(unknown);
    expect(body.detail).toMatch(/is no parameter of this call, which takes (\w+(, \w+)*)/);
  });

  it('takes the parameters that it describes, and on probes any', async () => {
    for (const path of [
      '/v1/jobs?status=failed&model=mnist&from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&limit=1',
      '/v1/models?limit=5',
      '/v1/workers?limit=5',
      '/v1/queues?limit=5',
      '/v1/webhook-endpoints?limit=5',
      '/livez?probe=1',
      '/readyz?probe=1',
    ])
      expect((await stack.request('GET', path)).status, path).toBe(200);
    const { status } = await stack.request('GET', '/v1/jobs?satus=failed', undefined, { authorization: '' });
    expect(status, 'who may not call is told nothing else').toBe(401);
  });

  it('answers health, models, schemas and OpenAPI', async () => {
    expect((await stack.request('GET', '/livez')).status).toBe(200);
    expect((await stack.request('GET', '/readyz')).status).toBe(200);
    const models = await stack.request('GET', '/v1/models');
    expect(models.body.data.map((model: { name: string }) => model.name)).toEqual(['mnist', 'upscale']);
    const schema = await stack.request('GET', '/v1/models/mnist/versions/1/schema');
    expect(Object.keys(schema.body)).toEqual(['instance', 'prediction']);
    const { body } = await stack.request('GET', '/openapi.json');
    expect(body.openapi).toBe('3.1.0');
    expect((await stack.request('DELETE', '/v1/jobs')).headers.get('allow')).toContain('POST');
    expect((await stack.request('GET', '/metrics')).status).toBe(404);
  });

  it('calls a webhook back, signed so that the standard library verifies it', async () => {
    const received: { headers: IncomingHttpHeaders; body: string }[] = [];
    const receiver = createServer((request, response) => {
      let body = '';
      request
        .on('data', (chunk) => (body += chunk))
        .on('end', () => {
          received.push({ headers: request.headers, body });
          response.end();
        });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const { secret } = (await stack.request('GET', '/v1/webhook-secret')).body;
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    const submitted = await stack.request('POST', '/v1/jobs', {
      ...digit('2'),
      webhook: { url, includePredictions: true },
    });
    await expect.poll(() => received.length, { timeout: 15_000 }).toBe(1);
    const { headers, body } = received[0] as (typeof received)[0];
    const event = new Webhook(secret).verify(body, headers as Record<string, string>) as unknown as {
      data: { predictions: number[][] };
    };
    expect(event).toMatchObject({
      type: 'job.succeeded',
      data: { id: submitted.body.id, status: 'succeeded' },
    });
    expect(argmax(event.data.predictions[0] ?? [])).toBe(2);
    receiver.close();
  });
});

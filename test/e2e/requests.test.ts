/**
 * Requests as people's tools write them, and answers that are no plain record, against the built processes.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { BOTH_MODELS, ROOT, type Stack, startStack } from '../support/stack.js';

const seven = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const PAGE = 'https://app.example.com';
const NDJSON = { 'content-type': 'application/x-ndjson' };

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), {
    ...BOTH_MODELS,
    SLUICE_CORS_ORIGINS: `${PAGE}, http://localhost:5173`,
  });
  await stack.ready();
});
afterAll(() => stack.close());

const submit = (body: unknown, headers: Record<string, string> = {}) =>
  stack.request('POST', '/v1/jobs', body, headers);

describe('the head of a request', () => {
  it('waits for the job with `Prefer: wait` alone', async () => {
    const { status, body } = await submit(seven, { prefer: 'wait' });
    expect({ status, state: body.status }).toEqual({ status: 200, state: 'succeeded' });
  });

  it('has an empty Idempotency-Key refused wherever one is taken', async () => {
    const { body: job } = await submit(seven, { prefer: 'wait' });
    const headers = { 'idempotency-key': '' };
    const url = 'http://127.0.0.1:1/';
    const answers = await Promise.all([
      submit(seven, headers),
      stack.request('POST', '/v1/jobs/bulk', { jobs: [seven] }, headers),
      stack.request('POST', `/v1/jobs/${job.id}/retry`, undefined, headers),
      stack.request('POST', '/v1/batches', { model: 'mnist', inputFile: 'file_x' }, headers),
      stack.request('POST', '/v1/files', 'x', headers),
      stack.request('POST', '/v1/webhook-endpoints', { url }, headers),
    ]);
    for (const { status, body } of answers) {
      expect({ status, code: body.code }).toEqual({ status: 400, code: 'malformed_request' });
      expect(body.detail).toMatch(/^Idempotency-Key is empty/);
    }
  });

  it('asks whether a job has changed by weak tags, lists and any', async () => {
    const { body, headers } = await submit(seven, { prefer: 'wait' });
    const path = headers.get('location') ?? '';
    const tag = (await stack.request('GET', path)).headers.get('etag') ?? '';
    expect(body.status).toBe('succeeded');
    for (const asked of [tag, `W/${tag}`, `"x", ${tag}`, '*']) {
      const again = await stack.request('GET', path, undefined, { 'if-none-match': asked });
      expect({ asked, status: again.status, body: again.body }).toEqual({ asked, status: 304, body: null });
      expect(again.headers.get('etag')).toBe(tag);
    }
    const other = await stack.request('GET', path, undefined, { 'if-none-match': `"x", W/"y"` });
    expect(other.status).toBe(200);
  });
});

describe('a request of a page', () => {
  const allowed = (headers: Headers) => headers.get('access-control-allow-origin');
  const preflight = (path: string, origin: string) =>
    fetch(stack.url + path, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,idempotency-key',
      },
    });

  it('is allowed beforehand, for origins that are listed', async () => {
    for (const origin of [PAGE, 'http://localhost:5173']) {
      const { status, headers } = await preflight('/v1/jobs', origin);
      expect({ status, allowed: allowed(headers), vary: headers.get('vary') }).toEqual({
        status: 204,
        allowed: origin,
        vary: 'Origin',
      });
      expect(headers.get('access-control-allow-methods')).toContain('POST');
      expect(headers.get('access-control-allow-headers')).toBe('authorization,idempotency-key');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
    }
    for (const origin of ['https://app.example.com:8443', 'http://app.example.com', 'null'])
      expect(allowed((await preflight('/v1/jobs', origin)).headers)).toBeNull();
  });

  it('may read answers, refusals and what their heads say', async () => {
    const taken = await submit(seven, { origin: PAGE });
    const refused = await submit({}, { origin: PAGE });
    const strange = await stack.request('GET', '/v1/jobs', undefined, { origin: PAGE, authorization: 'x' });
    expect([taken, refused, strange].map(({ status }) => status)).toEqual([202, 422, 401]);
    for (const { headers } of [taken, refused, strange]) {
      expect(allowed(headers)).toBe(PAGE);
      expect(headers.get('vary')).toBe('Origin');
      const exposed = headers.get('access-control-expose-headers')?.toLowerCase().split(',') ?? [];
      const others = [...headers.keys()].filter((name) => !exposed.includes(name));
      expect(exposed).toEqual(expect.arrayContaining(['location', 'retry-after', 'x-request-id', 'etag']));
      // A browser shows these at any rate, or nobody needs them.
      for (const name of others)
        expect(name).toMatch(
          /^(access-control|content|cache|x-content)-|^(vary|date|connection|keep-alive|transfer-encoding)$/,
        );
    }
    const other = await submit(seven, { origin: 'https://elsewhere.example.com' });
    expect({ status: other.status, allowed: allowed(other.headers) }).toEqual({ status: 202, allowed: null });
  });
});

describe('the text of a body', () => {
  const text = JSON.stringify(seven);

  it('may begin with a byte order mark, also as lines', async () => {
    expect((await submit(`\ufeff${text}`)).status).toBe(202);
    const { body } = await stack.request('POST', '/v1/jobs/bulk', `\ufeff${text}\r\n\ufeff${text}`, NDJSON);
    expect(body.results.map(({ status }: { status: number }) => status)).toEqual([202, 202]);
  });

  it('has no half of a surrogate pair, and a bad item harms no other', async () => {
    const broken = JSON.stringify({ ...seven, metadata: { order: '?' } }).replace('"?"', '"\\ud800"');
    const { status, body } = await submit(broken);
    expect({ status, path: body.errors[0].path }).toEqual({ status: 422, path: '/metadata/order' });
    const json = await stack.request('POST', '/v1/jobs/bulk', `{"jobs":[${text},${broken}]}`);
    const lines = await stack.request('POST', '/v1/jobs/bulk', `${text}\n${broken}`, NDJSON);
    for (const { body } of [json, lines]) {
      expect(body.results.map(({ status }: { status: number }) => status)).toEqual([202, 422]);
      expect(body.results[1].error.errors[0].path).toBe('/metadata/order');
    }
  });
});

describe('a request with nothing in it', () => {
  const png = { image: { b64: '' } };

  it.each([
    ['mnist', [], '/instances'],
    ['mnist', [[]], '/instances/0'],
    ['mnist', [null], '/instances/0'],
    ['mnist', [{}], '/instances/0'],
    ['mnist', [{ b64: '' }], '/instances/0/b64'],
    ['mnist', [{ b64: '', shape: [0] }], '/instances/0/shape'],
    ['mnist', [{ image: [] }], '/instances/0/image'],
    ['upscale', [{}], '/instances/0'],
    ['upscale', [png], '/instances/0/image/b64'],
  ])('for %s of %j is refused with its place', async (model, instances, path) => {
    const { status, body } = await submit({ model, instances });
    expect({ status, path: body.errors[0].path }).toEqual({ status: 422, path });
  });

  it('of many jobs, too', async () => {
    const empty = [
      stack.request('POST', '/v1/jobs/bulk', { jobs: [] }),
      stack.request('POST', '/v1/jobs/bulk', '\n', NDJSON),
      stack.request('POST', '/v1/jobs/bulk', '\ufeff\r\n \n', NDJSON),
    ];
    for (const { status } of await Promise.all(empty)) expect(status).toBe(422);
    expect((await stack.request('GET', '/livez')).status).toBe(200);
  });
});

it('the only input of a model may be given by its name', async () => {
  const named = { model: 'mnist', instances: seven.instances.map((image: unknown) => ({ image })) };
  const answers = await Promise.all([submit(seven, { prefer: 'wait' }), submit(named, { prefer: 'wait' })]);
  const [plain, byName] = answers.map(({ body }) => body.predictions);
  expect(byName).toEqual(plain);
});

it('a large result is a file with a signed address, and goes with its job', async () => {
  const side = 160;
  const noise = sharp(randomBytes(side * side * 3), { raw: { width: side, height: side, channels: 3 } });
  const b64 = (await noise.png().toBuffer()).toString('base64');
  const submitted = await stack.request('POST', '/v1/jobs', {
    model: 'upscale',
    instances: [{ image: { b64 } }],
  });
  const ended = await stack.request('GET', `/v1/jobs/${submitted.body.id}?wait=60`);
  expect(ended.body.status).toBe('succeeded');
  const { file, url } = ended.body.predictions;
  const content = await fetch(stack.url + url);
  expect(content.headers.get('content-type')).toBe('application/json');
  const [prediction] = (await content.json()) as { image: { b64: string } }[];
  const picture = await sharp(Buffer.from(prediction?.image.b64 ?? '', 'base64')).metadata();
  expect(picture).toMatchObject({ format: 'png', width: 2 * side, height: 2 * side });
  const again = await stack.request('GET', `/v1/jobs/${submitted.body.id}`);
  expect(again.body.predictions.file).toBe(file);
  expect((await stack.request('GET', `/v1/files/${file}`)).body.bytes).toBeGreaterThan(256 * 1024);
  await stack.request('DELETE', `/v1/jobs/${submitted.body.id}`);
  expect((await stack.request('GET', `/v1/files/${file}`)).status).toBe(404);
  expect((await fetch(stack.url + url)).status).toBe(404);
}, 90_000);

it('a submit that is repeated when its job has ended shows the result', async () => {
  const key = { 'idempotency-key': 'once' };
  const first = await stack.request('POST', '/v1/jobs', seven, { ...key, prefer: 'wait=20' });
  const again = await stack.request('POST', '/v1/jobs', seven, key);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect(again.body).toEqual(first.body);
});

/**
 * Files are uploaded, listed, downloaded with and without an API key, and deleted, and they expire. Uploads also fail.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openRedis } from '../../shared/redis/connect.js';
import { addedKey } from '../support/added-key.js';
import { type Answer, BOTH_MODELS, ROOT, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const MAX_BYTES = 3_000_000;
const UNKNOWN = `file_${'0'.repeat(36)}`;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

const folder = temporaryFolder();
let stack: Stack;
let asStranger: { authorization: string };
beforeAll(async () => {
  const env = {
    ...BOTH_MODELS,
    SLUICE_DATA_DIR: folder.path,
    SLUICE_MAX_FILE_BYTES: String(MAX_BYTES),
    LOG_LEVEL: 'info',
  };
  stack = await startStack(inject('redisUrl'), env);
  await stack.ready();
  asStranger = {
    authorization: `Bearer ${await addedKey(inject('redisUrl'), stack.prefix, 'other', ['files:read', 'files:write'])}`,
  };
});
afterAll(async () => {
  await stack.close();
  folder.remove();
});

const request: Stack['request'] = (...args) => stack.request(...args);

async function post(
  body: FormData | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${stack.url}/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.key}`, ...headers },
    body,
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

function formOf(
  ...parts: [name: string, bytes: Uint8Array<ArrayBuffer>, filename: string, type?: string][]
): FormData {
  const form = new FormData();
  for (const [name, bytes, filename, type = ''] of parts)
    form.append(name, new Blob([bytes], { type }), filename);
  return form;
}

/** Builds a form by hand, because no client would send it. */
const raw = (...lines: string[]) =>
  post(Buffer.from(lines.join('\r\n')), { 'content-type': 'multipart/form-data; boundary=b' });
const upload = (bytes: Uint8Array<ArrayBuffer>, filename = 'a.bin', headers = {}) =>
  post(formOf(['file', bytes, filename]), headers);
const get = (path: string, headers: Record<string, string> = {}) => fetch(stack.url + path, { headers });
const own = () => ({ authorization: `Bearer ${stack.key}` });

/** Returns the names of blobs and of uploads under way. */
function stored(): string[] {
  const names = readdirSync(join(folder.path, 'blobs'), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => /^uploads\/|files,/.test(name)).sort();
}

describe('a file', () => {
  it('is uploaded, looked at and downloaded, byte for byte', async () => {
    const bytes = randomBytes(MAX_BYTES);
    const before = Date.now();
    const { status, headers, body } = await post(formOf(['file', bytes, '日本 1.png', 'image/png']));
    expect(status).toBe(201);
    expect(body).toEqual({
      id: expect.stringMatching(/^file_[0-9a-z]{36}$/),
      bytes: MAX_BYTES,
      sha256: sha256(bytes),
      contentType: 'image/png',
      filename: '日本 1.png',
      createdAt: expect.any(String),
      expiresAt: expect.any(String),
    });
    expect(headers.get('location')).toBe(`/v1/files/${body.id}`);
    const keptMs = Date.parse(body.expiresAt) - Date.parse(body.createdAt);
    expect(keptMs).toBe(7 * 86_400_000);
    expect(Date.parse(body.createdAt)).toBeGreaterThanOrEqual(before);
    const { url, ...shown } = (await request('GET', `/v1/files/${body.id}`)).body;
    expect(shown).toEqual(body);
    for (const answer of [await get(`/v1/files/${body.id}/content`, own()), await get(url)]) {
      expect(answer.status).toBe(200);
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'content-length': String(MAX_BYTES),
        'content-type': 'image/png',
        'content-disposition': `attachment; filename="?? 1.png"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%201.png`,
        'content-security-policy': "default-src 'none'; sandbox",
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      });
    }
    const head = await fetch(stack.url + url, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(MAX_BYTES)]);
  });

  it('is downloaded from where a download was cut', async () => {
    const bytes = randomBytes(1000);
    const { body } = await upload(bytes);
    const path = `/v1/files/${body.id}/content`;
    const { url } = (await request('GET', `/v1/files/${body.id}`)).body;
    const tag = `"${body.sha256}"`;
    for (const [range, start, end] of [
      ['bytes=0-99', 0, 100],
      ['bytes=900-', 900, 1000],
      ['bytes=-50', 950, 1000],
      ['bytes=990-5000', 990, 1000],
    ] as const) {
      const answer = await get(url, { range, 'if-range': tag });
      expect(answer.status, range).toBe(206);
      expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes.subarray(start, end));
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'content-range': `bytes ${start}-${end - 1}/1000`,
        'content-length': String(end - start),
        'accept-ranges': 'bytes',
        etag: tag,
      });
    }
    for (const headers of [
      { range: 'bytes=0-9', 'if-range': '"another"' },
      { range: 'bytes=0-9,100-109' },
      { range: 'lines=0-9' },
    ])
      expect((await get(path, { ...own(), ...headers })).status, headers.range).toBe(200);
    for (const range of ['bytes=1000-', 'bytes=9-0']) {
      const after = await get(path, { ...own(), range });
      expect([after.status, after.headers.get('content-range')], range).toEqual([416, 'bytes */1000']);
      expect(await after.json()).toMatchObject({ code: 'range_not_satisfiable' });
    }
  });

  it('may be empty', async () => {
    const { status, body } = await upload(Buffer.alloc(0));
    expect(status).toBe(201);
    expect(body).toMatchObject({ bytes: 0, sha256: sha256(Buffer.alloc(0)) });
    const content = await get(`/v1/files/${body.id}/content`, own());
    expect([content.headers.get('content-length'), await content.text()]).toEqual(['0', '']);
  });

  it('is gone with its blob once it is deleted', async () => {
    const { body } = await upload(Buffer.from('x'));
    const { url } = (await request('GET', `/v1/files/${body.id}`)).body;
    expect(stored().join()).toContain(body.id);
    expect((await request('DELETE', `/v1/files/${body.id}`)).status).toBe(204);
    expect(stored().join()).not.toContain(body.id);
    for (const path of [`/v1/files/${body.id}`, `/v1/files/${body.id}/content`, url])
      expect((await request('GET', path)).body.code).toBe('not_found');
    expect((await request('DELETE', `/v1/files/${body.id}`)).status).toBe(404);
    expect(stack.output()).toContain('file.delete');
  });

  it('is listed, newest first, in pages', async () => {
    const ids: string[] = [];
    for (const text of ['1', '2', '3']) ids.unshift((await upload(Buffer.from(text))).body.id);
    const first = await request('GET', '/v1/files?limit=2');
    expect(first.body.data.map(({ id }: { id: string }) => id)).toEqual(ids.slice(0, 2));
    const second = await request('GET', `/v1/files?limit=1&cursor=${first.body.nextCursor}`);
    expect(second.body.data.map(({ id }: { id: string }) => id)).toEqual(ids.slice(2));
    expect((await request('GET', '/v1/files?limit=0')).status).toBe(422);
    expect((await request('GET', `/v1/files?cursor=job_${'0'.repeat(36)}`)).status).toBe(422);
  });

  it('is made once under an Idempotency-Key', async () => {
    const key = { 'idempotency-key': 'file 1' };
    const first = await upload(Buffer.from('same'), 'a.bin', key);
    const before = stored();
    const again = await upload(Buffer.from('same'), 'a.bin', key);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    const other = await upload(Buffer.from('other'), 'a.bin', key);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    expect(stored()).toEqual(before);
  });

  const names: [given: string, kept: string | null][] = [
    ['../../etc/passwd', 'passwd'],
    ['/abs/x.bin', 'x.bin'],
    ['C:\\\\dir\\\\x.bin', 'x.bin'],
    ['..', null],
    ['', null],
    ['a\u0000b\u0007\u202egpj.exe', 'abgpj.exe'],
    ['x'.repeat(300), 'x'.repeat(255)],
    ['日本.png', '日本.png'],
    ['汉堡 Accusé.jsonl', '汉堡 Accusé.jsonl'],
    ['a\\"b\\".txt', 'a"b".txt'],
  ];
  it.each(names)('named %j is kept as %j', async (given, kept) => {
    const { status, body } = await raw(
      '--b',
      `content-disposition: form-data; name="file"; filename="${given}"`,
      'content-type: text/html; charset=x',
      '',
      'x',
      '--b--',
      '',
    );
    expect([status, body.filename, body.contentType]).toEqual([201, kept, 'text/html']);
    const content = await get(`/v1/files/${body.id}/content`, own());
    expect([content.status, await content.text()]).toEqual([200, 'x']);
    expect(content.headers.get('content-disposition')).toMatch(/^attachment/);
    const [, shown] = /filename\*=UTF-8''(.+)$/.exec(content.headers.get('content-disposition') ?? '') ?? [];
    if (shown) expect(decodeURIComponent(shown)).toBe(kept);
  });

  it('keeps a name that is written as clients of old write it', async () => {
    const { body } = await raw(
      '--b',
      `content-disposition: form-data; name="file"; filename*=utf-8''%E6%B1%89%20%22b%22.txt`,
      '',
      'x',
      '--b--',
      '',
    );
    expect(body.filename).toBe('汉 "b".txt');
  });

  it('with a content type that is none is bytes', async () => {
    const { body } = await raw(
      '--b',
      'content-disposition: form-data; name="file"; filename="a"',
      'content-type: <script>',
      '',
      'x',
      '--b--',
    );
    expect(body.contentType).toBe('application/octet-stream');
  });

  it("of another tenant does not exist: 404 as for an id that is nobody's", async () => {
    const { body } = await upload(Buffer.from('secret'));
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/content'],
      ['DELETE', ''],
    ] as const) {
      const answer = await request(method, `/v1/files/${body.id}${path}`, undefined, asStranger);
      const unknown = await request(method, `/v1/files/${UNKNOWN}${path}`, undefined, asStranger);
      expect(answer.status).toBe(404);
      expect({ ...answer.body, requestId: '', instance: '' }).toEqual({
        ...unknown.body,
        requestId: '',
        instance: '',
      });
    }
    expect((await request('GET', '/v1/files', undefined, asStranger)).body.data).toEqual([]);
    expect((await request('GET', `/v1/files/${body.id}`)).status).toBe(200);
  });

  it('needs a key or a good signature', async () => {
    const { body } = await upload(Buffer.from('secret'));
    const { url } = (await request('GET', `/v1/files/${body.id}`)).body;
    const other = (await upload(Buffer.from('other'))).body.id;
    const code = async (path: string) => ((await (await get(path)).json()) as { code: string }).code;
    expect(await code(`/v1/files/${body.id}/content`)).toBe('unauthenticated');
    expect(await code(`/v1/files/${body.id}`)).toBe('unauthenticated');
    expect(await code(url.replace('/content', ''))).toBe('unauthenticated');
    expect(await code(url.replace(body.id, other))).toBe('not_found');
    expect(await code(url.replace(body.id, UNKNOWN))).toBe('not_found');
    expect(await code(url.replace(/expires=\d/, 'expires=9'))).toBe('not_found');
    expect(await code(`${url}x`)).toBe('not_found');
    expect(await code(`${url}&signature=x`)).toBe('not_found');
    expect(await code(url.replace(/expires=\d+&/, ''))).toBe('not_found');
    expect(Number(/expires=(\d+)/.exec(url)?.[1])).toBeCloseTo(Date.now() / 1000 + 3600, -2);
    expect((await get(url, { authorization: 'Bearer nothing' })).status).toBe(200);
  });
});

describe('a file as the input of a job', () => {
  const example = (name: string) =>
    JSON.parse(readFileSync(join(ROOT, `deploy/models/${name}.json`), 'utf8'));
  const digit: number[] = example('mnist/examples/7').instances[0];
  const floats = Buffer.from(new Float32Array(digit).buffer);
  const picture = Buffer.from(example('upscale/examples/picture').instances[0].image.b64, 'base64');
  const run = (model: string, ...instances: unknown[]) =>
    request('POST', '/v1/jobs', { model, instances }, { prefer: 'wait=20' });
  const idOf = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> => (await upload(bytes)).body.id;

  it('is what its bytes would be in the body, also once it has been deleted', async () => {
    const file = await idOf(floats);
    const raw = { b64: floats.toString('base64') };
    const { body } = await run('mnist', raw, { file }, { file });
    expect(body.status).toBe('succeeded');
    expect(body.predictions[1]).toEqual(body.predictions[0]);
    expect(body.predictions[2]).toEqual(body.predictions[0]);
    await request('DELETE', `/v1/files/${file}`);
    const again = await request('POST', `/v1/jobs/${body.id}/retry`);
    const { predictions } = (await request('GET', `/v1/jobs/${again.body.id}?wait=20`)).body;
    expect(predictions).toEqual(body.predictions);
  });

  it('may be a picture', async () => {
    const file = await idOf(picture);
    const image = { b64: picture.toString('base64') };
    const { body } = await run('upscale', { image }, { image: { file } }, { file });
    expect(body.status).toBe('succeeded');
    expect(body.predictions[1]).toEqual(body.predictions[0]);
    expect(body.predictions[2]).toEqual(body.predictions[0]);
  });

  it('that cannot be used is a fault of its instance', async () => {
    const [text, file] = [await idOf(Buffer.from('text')), await idOf(floats)];
    const refusals: [model: string, instance: unknown, path: string][] = [
      ['mnist', { file: UNKNOWN }, '/instances/1/file'],
      ['mnist', { file: '../../etc/passwd' }, '/instances/1/file'],
      ['mnist', { file: ['x'] }, '/instances/1/file'],
      ['mnist', { file: text }, '/instances/1/file'],
      ['mnist', { file, shape: [784] }, '/instances/1/shape'],
    ];
    for (const [model, instance, path] of refusals) {
      const { status, body } = await run(model, { file }, instance);
      expect(status, JSON.stringify(instance)).toBe(422);
      expect(body.errors).toEqual([{ path, message: expect.any(String) }]);
    }
    const { body } = await run('upscale', { image: { file: text } });
    expect(body.errors[0].path).toBe('/instances/0/image/file');
  });

  it('of another tenant is one that does not exist', async () => {
    const { body } = await upload(floats, 'a', asStranger);
    expect(body.id).toMatch(/^file_/);
    const [theirs, unknown] = [await run('mnist', { file: body.id }), await run('mnist', { file: UNKNOWN })];
    expect(theirs.status).toBe(422);
    expect(theirs.body.errors).toEqual(unknown.body.errors);
  });

  it('counts for the limit of its request, in many jobs as in one', async () => {
    const file = await idOf(Buffer.alloc(MAX_BYTES));
    const { body } = await run('upscale', { file });
    expect(body.errors[0].message).toContain('is not a JPEG');
    const one = { model: 'upscale', instances: [{ file }] };
    const { results } = (await request('POST', '/v1/jobs/bulk', { jobs: [one, one, one] })).body;
    const faults = results.map(({ error }: { error: { errors: unknown[] } }) => error.errors[0]);
    expect(faults.at(-1)).toEqual({
      path: '/instances/0/file',
      message: 'the files that a request names may hold 8388608 bytes together',
    });
  });

  it('is told in the schema of a model', async () => {
    const { body } = await request('GET', '/v1/models/upscale/versions/1/schema');
    const validate = new Ajv2020({ strict: false }).compile(body.instance);
    expect([{ file: UNKNOWN }, { image: { file: UNKNOWN } }, { image: {} }].map((x) => validate(x))).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe('an upload that is refused leaves nothing', () => {
  const part = (name: string, filename = '; filename="a"') => [
    '--b',
    `content-disposition: form-data; name="${name}"${filename}`,
    '',
    'x'.repeat(100_000),
  ];
  const cases: [name: string, send: () => Promise<Answer>, status: number, code: string, path?: string][] = [
    ['as JSON', () => request('POST', '/v1/files', {}), 415, 'unsupported_media_type'],
    [
      'as a form of another type',
      () => post(Buffer.from('a=b'), { 'content-type': 'application/x-www-form-urlencoded' }),
      415,
      'unsupported_media_type',
    ],
    [
      'compressed',
      () =>
        post(Buffer.from(''), {
          'content-type': 'multipart/form-data; boundary=b',
          'content-encoding': 'gzip',
        }),
      415,
      'unsupported_media_type',
    ],
    [
      'without a boundary',
      () => post(Buffer.from('--b--'), { 'content-type': 'multipart/form-data' }),
      400,
      'malformed_request',
    ],
    ['with no part', () => raw('--b--', ''), 422, 'invalid_input', '/file'],
    ['with nothing at all', () => raw(''), 400, 'malformed_request'],
    ['with a part of another name', () => raw(...part('data'), '--b--'), 422, 'invalid_input', '/data'],
    ['with two files', () => raw(...part('file'), ...part('file'), '--b--'), 422, 'invalid_input', '/file'],
    [
      'with a field after the file',
      () => raw(...part('file'), ...part('a/b', ''), '--b--'),
      422,
      'invalid_input',
      '/a~1b',
    ],
    [
      'with a field before it',
      () => raw(...part('purpose', ''), ...part('file'), '--b--'),
      422,
      'invalid_input',
      '/purpose',
    ],
    ['without its end', () => raw(...part('file')), 400, 'malformed_request'],
    ['cut within its head', () => raw('--b', 'content-disposition: form-data; na'), 400, 'malformed_request'],
    ['of a byte too much', () => upload(Buffer.alloc(MAX_BYTES + 1)), 413, 'body_too_large'],
    [
      'without a scope',
      () => upload(Buffer.from('x'), 'a', { authorization: `Bearer slk_${'0'.repeat(32)}` }),
      401,
      'unauthenticated',
    ],
  ];
  it.each(cases)('%s', async (_, send, status, code, path) => {
    const before = stored();
    const answer = await send();
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.body.errors?.[0]?.path).toBe(path);
    expect(stored()).toEqual(before);
  });

  /** Sends a head that promises `length` bytes, and a part of them. */
  function begin(length: number, sent: number) {
    const socket = connect(Number(new URL(stack.url).port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      `POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stack.key}\r\nContent-Length: ${length}\r\n` +
        'Content-Type: multipart/form-data; boundary=b\r\n\r\n' +
        '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n',
    );
    socket.write(Buffer.alloc(sent, 'x'));
    return socket;
  }

  it('broken off on the way', async () => {
    const before = stored();
    const socket = begin(2_000_000, 1_000_000);
    await expect.poll(() => stored().length, { timeout: 10_000 }).toBe(before.length + 1);
    socket.destroy();
    await expect.poll(stored, { timeout: 10_000 }).toEqual(before);
  });

  it('promised too large: before it is sent', async () => {
    const socket = begin(MAX_BYTES * 100, 0);
    const answer = await new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())));
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    socket.destroy();
  });
});

it('files are forgotten with their blobs when their time is over', async () => {
  const data = temporaryFolder();
  const brief = await startStack(inject('redisUrl'), {
    SLUICE_DATA_DIR: data.path,
    SLUICE_FILE_RETENTION_SECONDS: '1',
    SLUICE_ROLES: 'upkeep',
  });
  const listed = () => brief.request('GET', '/v1/files').catch(() => null);
  await expect.poll(async () => (await listed())?.status, { timeout: 20_000 }).toBe(200);
  const response = await fetch(`${brief.url}/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${brief.key}` },
    body: formOf(['file', Buffer.from('x'), 'a']),
  });
  const { id } = (await response.json()) as { id: string };
  const names = () => readdirSync(join(data.path, 'blobs'), { recursive: true, encoding: 'utf8' }).join();
  expect(names()).toContain(id);
  await expect.poll(names, { timeout: 20_000 }).not.toContain(id);
  expect((await brief.request('GET', `/v1/files/${id}`)).status).toBe(404);
  const redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  expect(await redis.keys(`${brief.prefix}*file*`)).toEqual([]);
  redis.disconnect();
  await brief.close();
  data.remove();
});

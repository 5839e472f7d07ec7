/**
 * Many jobs in one request: each meets its own fate.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openRedis } from '../../shared/redis/connect.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';

const digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((label): number[] => {
  const text = readFileSync(join(ROOT, `deploy/models/mnist/examples/${label}.json`), 'utf8');
  return JSON.parse(text).instances[0];
});
const raw = digits.map((digit) => ({ b64: Buffer.from(new Float32Array(digit).buffer).toString('base64') }));
const job = (index: number, more: object = {}) => ({
  model: 'mnist',
  instances: [raw[index % 10]],
  metadata: { index: String(index) },
  ...more,
});
const jobs = (count: number) => Array.from({ length: count }, (_, index) => job(index));
const argmax = (row: number[]) => row.indexOf(Math.max(...row));

interface Result {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of every form
  job?: any;
  error?: { code: string; message: string; retryable: boolean; errors?: { path: string }[] };
}

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'));
  await stack.ready();
});
afterAll(() => stack.close());

const bulk = (body: unknown, headers = {}) => stack.request('POST', '/v1/jobs/bulk', body, headers);
const ndjson = (body: string, headers = {}) =>
  bulk(body, { 'content-type': 'application/x-ndjson', ...headers });
const resultsOf = async (answer: ReturnType<typeof bulk>): Promise<Result[]> => {
  const { status, body } = await answer;
  expect(status, JSON.stringify(body).slice(0, 500)).toBe(200);
  return body.results;
};
const doneOf = async ({ job: { id } }: Result) => (await stack.request('GET', `/v1/jobs/${id}?wait=20`)).body;

describe('many jobs at once', () => {
  it('a thousand, every tenth of them bad: nine hundred are run, a hundred told why not', async () => {
    const bad = [
      { code: 'invalid_input', path: '/instances/0/b64', item: job(0, { instances: [{ b64: 'AAAA' }] }) },
      { code: 'model_not_found', item: job(0, { model: 'nothing' }) },
      { code: 'unknown_field', path: '/tenant', item: job(0, { tenant: 'other' }) },
      { code: 'invalid_input', path: '', item: null },
      {
        code: 'url_not_allowed',
        path: '/webhook/url',
        item: job(0, { webhook: { url: 'https://10.0.0.1/' } }),
      },
    ];
    const items: unknown[] = jobs(1000);
    for (let i = 0; i < 1000; i += 10) items[i] = bad[(i / 10) % bad.length]?.item;
    const results = await resultsOf(bulk({ jobs: items }));
    expect(results).toHaveLength(1000);
    for (const [i, { status, job: made, error }] of results.entries()) {
      const expected = i % 10 === 0 ? bad[(i / 10) % bad.length] : undefined;
      if (expected) {
        expect(made).toBeUndefined();
        expect(error).toMatchObject({ code: expected.code, retryable: false });
        expect(error?.errors?.[0]?.path).toBe(expected.path);
        expect(status).toBeGreaterThanOrEqual(400);
      } else {
        expect(status).toBe(202);
        expect(made).toMatchObject({ object: 'job', metadata: { index: String(i) } });
      }
    }
    const made = results.filter((result) => result.job);
    const ended = await Promise.all(made.slice(0, 40).map(doneOf));
    for (const { metadata, predictions } of ended)
      expect(argmax(predictions[0])).toBe(Number(metadata.index) % 10);
    const left = async () => (await stack.request('GET', '/v1/queues')).body.data[0].queued;
    await expect.poll(left, { timeout: 20_000 }).toBe(0);
    expect((await doneOf(made.at(-1) as Result)).status).toBe('succeeded');
  });

  it('as lines: what is no JSON is the error of its line, blank lines count for nothing', async () => {
    const body = [
      JSON.stringify(job(3)),
      '{"model":',
      '',
      `{"model":"mnist","instances":${'['.repeat(50_000)}`,
      '\t \r',
      JSON.stringify(job(4)),
      '{}',
      '',
      '',
    ].join('\n');
    const results = await resultsOf(ndjson(body));
    expect(results.map(({ status }) => status)).toEqual([202, 400, 400, 202, 422]);
    expect(results[1]?.error?.code).toBe('malformed_json');
    expect(results[2]?.error?.message).toContain('nested deeper');
    expect(results[4]?.error?.errors?.[0]?.path).toBe('/model');
    expect(argmax((await doneOf(results[3] as Result)).predictions[0])).toBe(4);
  });

  it('with CRLF and no newline at the end', async () => {
    const results = await resultsOf(ndjson(`${JSON.stringify(job(1))}\r\n${JSON.stringify(job(2))}`));
    expect(results.map(({ status }) => status)).toEqual([202, 202]);
  });

  it('compressed', async () => {
    const response = await fetch(`${stack.url}/v1/jobs/bulk`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${stack.key}`,
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      },
      body: gzipSync(JSON.stringify({ jobs: jobs(100) })),
    });
    const { results } = (await response.json()) as { results: Result[] };
    expect(results.filter(({ status }) => status === 202)).toHaveLength(100);
  });

  it('held until all have ended: each with its result, a bad one with its error', async () => {
    const items: unknown[] = jobs(150);
    items[7] = job(0, { model: 'nothing' });
    const results = await resultsOf(bulk({ jobs: items }, { prefer: 'wait=30' }));
    const bad = results.splice(7, 1);
    expect(bad[0]).toMatchObject({ status: 404, error: { code: 'model_not_found' } });
    for (const { status, job: made } of results) {
      expect([status, made.status]).toEqual([200, 'succeeded']);
      expect(argmax(made.predictions[0])).toBe(Number(made.metadata.index) % 10);
    }
    // A repeated call waits for the same jobs.
    const key = { 'idempotency-key': 'held', prefer: 'wait=30' };
    const [first] = await resultsOf(bulk({ jobs: jobs(1) }, key));
    const [again] = await resultsOf(bulk({ jobs: jobs(1) }, key));
    expect(again).toEqual(first);
  });

  it('held until time is up: what has not ended is answered as it is', async () => {
    await stack.request('POST', '/v1/queues/mnist/pause');
    const results = await resultsOf(stack.request('POST', '/v1/jobs/bulk?wait=1', { jobs: jobs(3) }));
    expect(results.map(({ status, job: made }) => [status, made.status])).toEqual(
      new Array(3).fill([202, 'queued']),
    );
    await stack.request('POST', '/v1/queues/mnist/resume');
    expect((await doneOf(results[2] as Result)).status).toBe('succeeded');
  });

  it('held, while one is forgotten and one cannot be read: the others are answered as they are', async () => {
    const redis = await openRedis(inject('redisUrl'), 'request', () => undefined);
    await stack.request('POST', '/v1/queues/mnist/pause');
    const held = resultsOf(bulk({ jobs: jobs(3) }, { prefer: 'wait=2' }));
    const queued = async () => (await stack.request('GET', '/v1/jobs?status=queued')).body.data;
    await expect.poll(queued, { interval: 20 }).toHaveLength(3);
    // Jobs are listed newest first.
    const [unreadable, , gone] = (await queued()).map(
      ({ id }: { id: string }) => `${stack.prefix}:job:${id}`,
    );
    await Promise.all([redis.del(gone), redis.rename(unreadable, `${unreadable}:aside`)]);
    await redis.set(unreadable, 'no record');
    const results = await held;
    await redis.rename(`${unreadable}:aside`, unreadable);
    redis.disconnect();
    const index = results.findIndex(({ status }) => status === 404);
    expect(results[index]?.error?.code).toBe('not_found');
    for (const { status, job: made } of results.toSpliced(index, 1))
      expect([status, made.status]).toEqual([202, 'queued']);
    await stack.request('POST', '/v1/queues/mnist/resume');
    for (const made of results.toSpliced(index, 1)) expect((await doneOf(made)).status).toBe('succeeded');
  });

  it('queued ones are told their place', async () => {
    await stack.request('POST', '/v1/queues/mnist/pause');
    const results = await resultsOf(bulk({ jobs: jobs(5) }));
    const [first, ...others] = results.map(({ job: made }) => made.queuePosition);
    expect(others).toEqual([first + 1, first + 2, first + 3, first + 4]);
    await stack.request('POST', '/v1/queues/mnist/resume');
    expect((await doneOf(results[4] as Result)).status).toBe('succeeded');
  });
});

describe('a repeated call with its Idempotency-Key', () => {
  const key = (name: string) => ({ 'idempotency-key': name });
  const idsOf = (results: Result[]) => results.map((result) => result.job?.id ?? null);

  it('answers with the same jobs, also as lines', async () => {
    const items = [job(1), { model: 'nothing' }, job(2), job(2)];
    const first = await bulk({ jobs: items }, key('bulk 1'));
    const ids = idsOf(first.body.results);
    expect(new Set(ids).size).toBe(4);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    const again = await bulk({ jobs: items }, key('bulk 1'));
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(idsOf(again.body.results)).toEqual(ids);
    expect(again.body.results[1]).toEqual(first.body.results[1]);
    const lines = await ndjson(items.map((item) => JSON.stringify(item)).join('\n'), key('bulk 1'));
    expect(idsOf(lines.body.results)).toEqual(ids);
  });

  it('makes what the first call did not get to', async () => {
    const part = await resultsOf(bulk({ jobs: jobs(3) }, key('bulk 2')));
    const whole = await bulk({ jobs: jobs(5) }, key('bulk 2'));
    expect(whole.headers.get('idempotent-replayed')).toBeNull();
    expect(idsOf(whole.body.results).slice(0, 3)).toEqual(idsOf(part));
    expect(new Set(idsOf(whole.body.results)).size).toBe(5);
  });

  it('refuses an item that has changed, and only that', async () => {
    const first = await resultsOf(bulk({ jobs: jobs(3) }, key('bulk 3')));
    const changed = await resultsOf(bulk({ jobs: [job(0), job(7), job(2)] }, key('bulk 3')));
    expect(changed.map(({ status }) => status)).toEqual([202, 422, 202]);
    expect(changed[1]?.error?.code).toBe('idempotency_key_reused');
    expect(changed[2]?.job.id).toBe(first[2]?.job.id);
  });

  it('shares no key with a submit of one job', async () => {
    const one = await stack.request('POST', '/v1/jobs', job(0), key('bulk 4'));
    const [many] = await resultsOf(bulk({ jobs: [job(0)] }, key('bulk 4')));
    expect(many?.job.id).not.toBe(one.body.id);
  });

  it('sent twice at the same time, makes each job once', async () => {
    const answers = await Promise.all([1, 2, 3].map(() => bulk({ jobs: jobs(50) }, key('bulk 5'))));
    expect(new Set(answers.flatMap(({ body }) => idsOf(body.results))).size).toBe(50);
  });
});

describe('a request is refused as a whole', () => {
  const cases: [name: string, body: unknown, status: number, code: string, path?: string][] = [
    ['with no job', { jobs: [] }, 422, 'invalid_input', '/jobs'],
    ['with 1,001 jobs', { jobs: jobs(1001) }, 422, 'invalid_input', '/jobs'],
    ['without `jobs`', {}, 422, 'invalid_input', '/jobs'],
    ['with `jobs` of another type', { jobs: { 0: job(0) } }, 422, 'invalid_input', '/jobs'],
    ['with a field besides', { jobs: [job(0)], model: 'mnist' }, 400, 'unknown_field', '/model'],
    ['that is a list', [job(0)], 422, 'invalid_input', ''],
    ['that is no JSON', '{"jobs":[', 400, 'malformed_json'],
    ['that is nested too deep', `{"jobs":[${'['.repeat(10_000)}`, 400, 'malformed_json'],
  ];
  it.each(cases)('%s', async (_, body, status, code, path) => {
    const answer = await bulk(body);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.body.errors?.[0]?.path).toBe(path);
  });

  it('as lines: none, 1,001, a line beyond the limit of all', async () => {
    expect(await ndjson('\n \n')).toMatchObject({ status: 422, body: { code: 'invalid_input' } });
    expect(await ndjson('{}\n'.repeat(1001))).toMatchObject({ status: 422, body: { code: 'invalid_input' } });
    const large = await ndjson(`{}\n"${'x'.repeat(8 * 1024 * 1024)}"\n`).catch(() => ({ status: 413 }));
    expect(large.status).toBe(413);
  });

  it('of another type, with a bad Idempotency-Key, without the scope', async () => {
    expect((await bulk('{}', { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await bulk({ jobs: [job(0)] }, { 'idempotency-key': 'x'.repeat(256) })).status).toBe(400);
    expect((await bulk({ jobs: [job(0)] }, { authorization: '' })).status).toBe(401);
  });
});

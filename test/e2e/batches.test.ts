/**
 * Batches: a file of jobs in, a file of results out.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { batchViewSchema } from '../../shared/contract/batch.js';
import { CHUNK_LINES } from '../../worker/batches/json-lines.js';
import { addedKey } from '../support/added-key.js';
import { createBatchFiles } from '../support/batch-files.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';

const UNKNOWN = `batch_${'0'.repeat(36)}`;
const MAX_OPEN = 3;
const NONE = { succeeded: 0, failed: 0, canceled: 0, expired: 0 };

const digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((label): number[] => {
  const text = readFileSync(join(ROOT, `deploy/models/mnist/examples/${label}.json`), 'utf8');
  return JSON.parse(text).instances[0];
});
const raw = digits.map((digit) => ({ b64: Buffer.from(new Float32Array(digit).buffer).toString('base64') }));
const line = (nth: number) => ({ customId: `row-${nth}`, instances: [raw[nth % 10]] });
const lines = (count: number) => Array.from({ length: count }, (_, nth) => line(nth));
const argmax = (row: number[]) => row.indexOf(Math.max(...row));

let stack: Stack;
let asStranger: { authorization: string };
let files: ReturnType<typeof createBatchFiles>;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_MAX_BATCHES_PER_TENANT: String(MAX_OPEN) });
  files = createBatchFiles(stack);
  await stack.ready();
  const scopes = ['jobs:read', 'jobs:write', 'files:read', 'files:write'] as const;
  asStranger = {
    authorization: `Bearer ${await addedKey(inject('redisUrl'), stack.prefix, 'other', scopes)}`,
  };
});
afterAll(() => stack.close());

const hold = (act: 'pause' | 'resume') => stack.request('POST', `/v1/queues/mnist/${act}`);

async function whilePaused(act: () => Promise<void>): Promise<void> {
  await hold('pause');
  try {
    await act();
  } finally {
    await hold('resume');
  }
}

describe('a batch', () => {
  it('is worked off in the order of its lines: predictions in one file, what is wrong in another', async () => {
    const bad: Record<number, [line: string | object, code: string, path?: string]> = {
      3: ['{"instances": [', 'malformed_json'],
      7: [{ instances: [[1, 2]] }, 'invalid_input', '/instances/0'],
      8: [{ instances: [raw[1]], priority: 'interactive' }, 'unknown_field', '/priority'],
      [CHUNK_LINES + 20]: [{ customId: 'no instances' }, 'invalid_input', '/instances'],
    };
    const count = CHUNK_LINES + 100;
    const input = lines(count).map((good, nth) => bad[nth]?.[0] ?? good);
    // Blank lines do not count, and a file may end in one.
    input.splice(5, 0, '', '  ');
    const { id } = await files.create([...input, ''], { metadata: { purpose: 'test' } });
    const batch = await files.ended(id);

    const isDescribed = new Ajv2020({ strict: false, validateFormats: false }).compile(batchViewSchema);
    expect([isDescribed(batch), isDescribed.errors]).toEqual([true, null]);
    const failed = Object.keys(bad).length;
    expect(batch).toMatchObject({
      object: 'batch',
      status: 'completed',
      model: { name: 'mnist', version: 1 },
      counts: { ...NONE, total: count, succeeded: count - failed, failed },
      metadata: { purpose: 'test' },
      error: null,
    });
    const output = await files.linesOf(batch.outputFile);
    expect(output.map(({ customId }) => customId)).toEqual(
      lines(count).flatMap(({ customId }, nth) => (bad[nth] ? [] : [customId])),
    );
    for (const { customId, predictions } of output)
      expect(argmax(predictions?.[0] ?? [])).toBe(Number(customId?.split('-')[1]) % 10);
    const errors = await files.linesOf(batch.errorFile);
    const at = (nth: number) => nth + (nth >= 5 ? 3 : 1);
    expect(errors.map(({ line, error }) => [line, error?.code, error?.errors?.[0]?.path])).toEqual(
      Object.entries(bad).map(([nth, [, code, path]]) => [at(Number(nth)), code, path]),
    );
    // The jobs of a batch that has ended are erased.
    const { body } = await stack.request('GET', '/v1/jobs?model=mnist');
    expect(body.data).toEqual([]);
  });

  it('takes files as instances, and tells instances that failed apart', async () => {
    const form = new FormData();
    form.append('file', new Blob([new Uint8Array(new Float32Array(digits[4] ?? []).buffer)]), 'four.bin');
    const answer = await fetch(`${stack.url}/v1/files`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.key}` },
      body: form,
    });
    const { id: four } = (await answer.json()) as { id: string };
    const { id } = await files.create([
      { instances: [{ file: four }] },
      { instances: [{ file: `file_${'0'.repeat(36)}` }] },
    ]);
    const { outputFile, errorFile } = await files.ended(id);
    const [made] = await files.linesOf(outputFile);
    expect(made).toMatchObject({ line: 1, customId: null });
    expect(argmax(made?.predictions?.[0] ?? [])).toBe(4);
    expect(await files.linesOf(errorFile)).toMatchObject([
      { line: 2, job: null, status: 'failed', error: { code: 'invalid_input' } },
    ]);
  });

  it('keeps what was computed when it is canceled', async () => {
    const total = 3000;
    const { id } = await files.create(lines(total));
    await files.until(id, 'some lines are done', 30_000, ({ counts }) => counts.succeeded > 0);
    const { status, body } = await stack.request('POST', `/v1/batches/${id}/cancel`);
    expect([status, body.status]).toEqual([200, 'canceling']);
    const batch = await files.ended(id);
    expect(batch.status).toBe('canceled');
    const { succeeded, canceled, failed, expired } = batch.counts;
    expect([succeeded + canceled, failed, expired]).toEqual([total, 0, 0]);
    expect(succeeded).toBeGreaterThan(0);
    expect(canceled).toBeGreaterThan(0);
    const output = await files.linesOf(batch.outputFile);
    const errors = await files.linesOf(batch.errorFile);
    expect(output).toHaveLength(succeeded);
    expect(errors).toHaveLength(canceled);
    expect(new Set(errors.map(({ status: each }) => each))).toEqual(new Set(['canceled']));
    const all = [...output, ...errors].map(({ customId }) => customId);
    expect(new Set(all)).toEqual(new Set(lines(total).map(({ customId }) => customId)));
    const again = await stack.request('POST', `/v1/batches/${id}/cancel`);
    expect([again.status, again.body.status]).toEqual([200, 'canceled']);
  });

  it('expires: its lines that wait are expired, each told', async () => {
    await whilePaused(async () => {
      const total = CHUNK_LINES * 2 + 50;
      const { id } = await files.create(lines(total), { ttlSeconds: 2 });
      const batch = await files.ended(id);
      expect(batch).toMatchObject({
        status: 'expired',
        outputFile: null,
        counts: { ...NONE, total, expired: total },
      });
      expect(await files.linesOf(batch.errorFile)).toHaveLength(total);
    });
  });

  it('fails with the reason when its file cannot be worked off', async () => {
    const tooMany = await files.create(Array.from({ length: 50_001 }, () => '{}'));
    const none = await files.create([' '.repeat(5000), ' ']);
    for (const [{ id }, message] of [
      [tooMany, 'has more than 50000 lines'],
      [none, 'has no lines'],
    ] as const) {
      const batch = await files.ended(id);
      expect(batch).toMatchObject({
        status: 'failed',
        outputFile: null,
        errorFile: null,
        error: { code: 'invalid_input', message: `/inputFile: ${message}` },
      });
      const { status, body } = await stack.request('POST', `/v1/batches/${id}/cancel`);
      expect([status, body.code]).toEqual([409, 'batch_finished']);
    }
  });

  it('fails when results of it were lost, and says up to which line', async () => {
    const count = CHUNK_LINES * 8;
    const { id } = await files.create(lines(count));
    await files.until(id, 'a part is stored', 30_000, ({ counts }) => counts.succeeded > CHUNK_LINES * 2);
    const blobs = await openFileBlobs(join(stack.dataDir, 'blobs'), systemClock);
    for await (const { key } of blobs.list(`batches/${id}/0-`)) await blobs.delete(key);
    expect(await files.ended(id)).toMatchObject({
      status: 'failed',
      outputFile: null,
      error: { code: 'not_found', message: `Results up to line ${CHUNK_LINES} are no longer stored.` },
    });
  });

  it('is refused at once where it cannot begin', async () => {
    const inputFile = await files.upload([line(1)]);
    const cases: [body: object, status: number, code: string, path?: string][] = [
      [{ inputFile: `file_${'0'.repeat(36)}` }, 422, 'invalid_input', '/inputFile'],
      [{ inputFile, model: 'nothing' }, 404, 'model_not_found'],
      [{ inputFile, ttlSeconds: 0 }, 422, 'invalid_input', '/ttlSeconds'],
      [{ inputFile, priority: 'bulk' }, 400, 'unknown_field', '/priority'],
      [{}, 422, 'invalid_input', '/inputFile'],
    ];
    for (const [body, status, code, path] of cases) {
      const answer = await files.post(body);
      expect([answer.status, answer.body.code, answer.body.errors?.[0]?.path]).toEqual([status, code, path]);
    }
  });

  it.each([
    ['of blank lines', Buffer.from('\n \r\n'), 'has no lines'],
    ['of UTF-16', Buffer.from('\ufeff{"instances":[[1]]}', 'utf16le'), 'is UTF-16'],
    ['of gzip', gzipSync('{"instances":[[1]]}'), 'is compressed with gzip'],
    ['that is an array', Buffer.from('\ufeff[\n{"instances":[[1]]}]'), 'is a JSON array'],
    ['that is indented', Buffer.from('{\n  "instances": [[1]]\n}'), 'has one JSON object over several lines'],
  ])('is refused at once for a file %s', async (_, bytes, message) => {
    const { status, body } = await files.post({ inputFile: await files.uploadBytes(bytes) });
    expect(status).toBe(422);
    expect(body.errors).toEqual([{ path: '/inputFile', message: expect.stringContaining(message) }]);
  });

  it('takes lines as tools write them, and gives each its own verdict', async () => {
    const [good, image] = [line(3), digits[3]];
    const input: [text: string | object, code: string | null, path?: string][] = [
      [`\ufeff${JSON.stringify(good)}\r`, null],
      ['\r', null],
      [good, null],
      [{ ...good, model: 'mnist' }, null],
      [{ ...good, model: 'mnist@1' }, null],
      [{ ...good, model: 'mnist@latest' }, null],
      [{ ...good, customId: 'a\u2028b' }, null],
      [{ ...good, model: 'upscale' }, 'invalid_input', '/model'],
      ['{"instances":[[NaN]]}', 'malformed_json'],
      ['{"customId":"\\ud800","instances":[[1]]}', 'invalid_input', '/customId'],
      [{ instances: [image], customId: 'x'.repeat(9 * 1024 * 1024) }, 'body_too_large'],
      [good, null],
    ];
    const { id } = await files.create(input.map(([text]) => text));
    const { outputFile, errorFile, firstFailure } = await files.ended(id);
    const numbered = input.map(([, code, path], nth) => [nth + 1, code ?? undefined, path]);
    const output = await files.linesOf(outputFile);
    expect(output.map(({ line }) => line)).toEqual([1, 3, 4, 5, 6, 7, 12]);
    expect(output.map(({ customId }) => customId)).toEqual([...Array(5).fill('row-3'), 'a\u2028b', 'row-3']);
    expect(
      (await files.linesOf(errorFile)).map(({ line, error }) => [
        line,
        error?.code,
        error?.errors?.[0]?.path,
      ]),
    ).toEqual(numbered.filter(([, code]) => code));
    expect(firstFailure).toMatchObject({ line: 8, customId: 'row-3', code: 'invalid_input' });
  });

  it('says why when every line of it failed', async () => {
    const { id } = await files.create(['{"customId":', { customId: 'b', instances: [[1]] }]);
    expect(await files.ended(id)).toMatchObject({
      status: 'completed',
      outputFile: null,
      counts: { total: 2, failed: 2, succeeded: 0 },
      firstFailure: {
        line: 1,
        customId: null,
        code: 'malformed_json',
        message: expect.stringMatching(/^The line is not JSON/),
      },
    });
  });

  it('is made once under an Idempotency-Key', async () => {
    const body = { inputFile: await files.upload([line(1)]) };
    const key = { 'idempotency-key': 'once' };
    const first = await files.post(body, key);
    const again = await files.post(body, key);
    expect([again.status, again.body.id]).toEqual([202, first.body.id]);
    expect([first, again].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true']);
    const other = await files.post({ ...body, ttlSeconds: 60 }, key);
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  it('of another tenant does not exist, nor does its file', async () => {
    const inputFile = await files.upload([line(1)]);
    const { body } = await files.post({ inputFile });
    for (const id of [body.id, UNKNOWN, 'nonsense']) {
      for (const [method, path] of [
        ['GET', `/v1/batches/${id}`],
        ['POST', `/v1/batches/${id}/cancel`],
      ] as const) {
        const answer = await stack.request(method, path, undefined, asStranger);
        expect([answer.status, answer.body.detail]).toEqual([404, 'There is no such batch.']);
      }
    }
    expect((await stack.request('GET', '/v1/batches', undefined, asStranger)).body.data).toEqual([]);
    const theirs = await files.post({ inputFile }, asStranger);
    expect([theirs.status, theirs.body.errors?.[0]?.path]).toEqual([422, '/inputFile']);
    const { body: page } = await stack.request('GET', '/v1/batches?limit=2');
    expect(page.data.map(({ id }: { id: string }) => id)[0]).toBe(body.id);
    const { body: next } = await stack.request('GET', `/v1/batches?limit=2&cursor=${page.nextCursor}`);
    expect(next.data).toHaveLength(2);
  });

  it('is bounded: a tenant may have so many open', async () => {
    const { body: before } = await stack.request('GET', '/v1/batches?limit=100');
    for (const { id } of before.data) await files.ended(id);
    await whilePaused(async () => {
      const inputFile = await files.upload([line(1)]);
      const made = [];
      for (let nth = 0; nth < MAX_OPEN; nth++) made.push((await files.post({ inputFile })).body.id);
      const refused = await files.post({ inputFile });
      expect([refused.status, refused.body.code]).toEqual([429, 'too_many_batches']);
      for (const id of made) await stack.request('POST', `/v1/batches/${id}/cancel`);
      for (const id of made) expect((await files.ended(id)).status).toBe('canceled');
      const { status, body } = await files.post({ inputFile });
      expect(status).toBe(202);
      await stack.request('POST', `/v1/batches/${body.id}/cancel`);
    });
  });
});

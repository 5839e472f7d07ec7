/** Versions whose numbers are dates and times, as exporters make them: served under every name, uploaded and bundled. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Answer, ROOT, type Stack, startStack } from '../support/stack.js';
import { partsOf, postVersion } from '../support/uploads.js';

const BOUND = { timeout: 20_000 };
const MNIST = join(ROOT, 'deploy/models/mnist/1');
const FILES = ['model.json', 'group1-shard1of1.bin', 'golden.json'];
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const described = readFileSync(join(MNIST, 'model.yaml'), 'utf8')
  .replace(/^(name|version): .*\n/gm, '')
  .replace(/^files:\n( .*\n)+/m, '');
const folder = mkdtempSync(join(tmpdir(), 'sluice-numbers-'));

let stack: Stack;
beforeAll(async () => {
  cpSync(MNIST, join(folder, 'mnist/1'), { recursive: true });
  cpSync(MNIST, join(folder, 'bundled/202011032114'), { recursive: true });
  writeFileSync(join(folder, 'bundled/202011032114/model.yaml'), described);
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS_DIR: folder });
  await stack.ready();
});
afterAll(async () => {
  await stack.close();
  rmSync(folder, { recursive: true, force: true });
});

const upload = (version: string): Promise<Answer> =>
  postVersion(
    stack,
    'timed',
    partsOf([
      ['model.yaml', `version: ${version}\n${described}`],
      ...FILES.map((file) => [file, readFileSync(join(MNIST, file))] as const),
    ]),
  );

const submit = (model: string) => stack.request('POST', '/v1/jobs?wait=20', { ...digit, model });
const served = (version: number) => ({ status: 'succeeded', model: { version } });

it.each([1536553160, 20230101120000, Number.MAX_SAFE_INTEGER])('%d is served under every name', async (n) => {
  const { request } = stack;
  expect(await upload(String(n))).toMatchObject({ status: 202, body: { version: n } });
  const model = async () => (await request('GET', '/v1/models/timed')).body;
  await expect
    .poll(async () => (await model()).versions[0], BOUND)
    .toMatchObject({ version: n, state: 'ready' });
  expect((await model()).aliases.latest).toBe(n);
  const moved = await request('PUT', '/v1/models/timed/aliases/stable', { version: n });
  expect(moved).toMatchObject({ status: 200, body: { aliases: { stable: n } } });
  for (const name of ['timed', `timed@${n}`, 'timed@stable'])
    expect((await submit(name)).body, name).toMatchObject(served(n));
  expect(await request('GET', `/v1/models/timed/versions/${n}/schema`)).toMatchObject({ status: 200 });
});

it('is served in a batch of the bare name', async () => {
  const form = new FormData();
  const line = JSON.stringify({ customId: 'a', instances: digit.instances });
  form.append('file', new Blob([`${line}\n`]), 'lines.jsonl');
  const headers = { authorization: `Bearer ${stack.key}` };
  const sent = await fetch(`${stack.url}/v1/files`, { method: 'POST', headers, body: form });
  const { id } = (await sent.json()) as { id: string };
  const batch = await stack.request('POST', '/v1/batches', { model: 'timed', inputFile: id });
  expect(batch, JSON.stringify(batch.body)).toMatchObject({ status: 202 });
  const state = async () => (await stack.request('GET', `/v1/batches/${batch.body.id}`)).body;
  await expect.poll(async () => (await state()).status, BOUND).toBe('completed');
  expect((await state()).counts).toMatchObject({ succeeded: 1, failed: 0 });
});

it('is that of a bundled folder', async () => {
  const state = async () => (await stack.request('GET', '/v1/models/bundled')).body.versions?.[0]?.state;
  await expect.poll(state, BOUND).toBe('ready');
  for (const name of ['bundled', 'bundled@202011032114'])
    expect((await submit(name)).body, name).toMatchObject(served(202011032114));
});

it('is refused when it is too large to be held exactly, naming the largest', async () => {
  const refused = await upload('9007199254740993');
  expect(refused).toMatchObject({ status: 422, body: { code: 'invalid_input' } });
  expect(JSON.stringify(refused.body)).toMatch(/model.yaml\/version.*9007199254740991/);
  expect(await submit('timed@9007199254740993')).toMatchObject({ status: 404 });
});

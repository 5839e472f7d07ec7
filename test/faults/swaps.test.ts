/**
 * F24: versions come and go under load. Each is uploaded, becomes `latest` once it is ready, and the one before is retired; no
 * job fails, each result names the version that computed it, and of all that went nothing stays loaded.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, inject, it } from 'vitest';
import { IS_LONG } from '../support/long.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';

/** All fifty take a minute and a half. */
const SWAPS = IS_LONG ? 50 : 6;
const CLIENTS = 4;
const BOUND = { timeout: 20_000, interval: 20 };
const MODEL = 'swapped';
const MNIST = join(ROOT, 'deploy/models/mnist/1');
const FILES = ['model.json', 'group1-shard1of1.bin', 'golden.json'];
const said = readFileSync(join(MNIST, 'model.yaml'), 'utf8')
  .replace(/^(name|version): .*\n/gm, '')
  .replace(/^files:\n( .*\n)+/m, '');
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

const folder = mkdtempSync(join(tmpdir(), 'sluice-swaps-'));
let stack: Stack | undefined;
afterAll(async () => {
  await stack?.close();
  rmSync(folder, { recursive: true, force: true });
});

it('versions are swapped under load and no job fails', { timeout: 240_000 }, async () => {
  stack = await startStack(inject('redisUrl'), {
    SLUICE_CACHE_DIR: join(folder, 'cache'),
    SLUICE_MODELS: MODEL,
  });
  const { url, key, request, apiReady } = stack;
  await apiReady();

  /** Answers once it is ready. */
  async function upload(version: number): Promise<void> {
    const form = new FormData();
    form.append('file', new Blob([said]), 'model.yaml');
    for (const name of FILES)
      form.append('file', new Blob([new Uint8Array(readFileSync(join(MNIST, name)))]), name);
    const headers = { authorization: `Bearer ${key}` };
    const path = `${url}/v1/models/${MODEL}/versions`;
    expect((await fetch(path, { method: 'POST', headers, body: form })).status).toBe(202);
    const state = async () => (await request('GET', `/v1/models/${MODEL}/versions/${version}`)).body.state;
    await expect.poll(state, BOUND).toBe('ready');
  }

  await upload(1);
  const jobs: { status: string; model: { version: number }; predictions: number[][] }[] = [];
  let isOver = false;
  const load = Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (!isOver) jobs.push((await request('POST', '/v1/jobs?wait=20', { ...digit, model: MODEL })).body);
    }),
  );
  for (let version = 2; version <= SWAPS + 1; version++) {
    await upload(version);
    const served = () => jobs.some(({ model }) => model?.version === version);
    await expect.poll(served, BOUND).toBe(true);
    expect((await request('DELETE', `/v1/models/${MODEL}/versions/${version - 1}`)).status).toBe(200);
  }
  isOver = true;
  await load;

  expect(jobs.filter(({ status }) => status !== 'succeeded')).toEqual([]);
  const versions = Array.from({ length: SWAPS + 1 }, (_, i) => i + 1);
  expect([...new Set(jobs.map(({ model }) => model.version))].sort((a, b) => a - b)).toEqual(versions);
  for (const { predictions } of jobs) expect(predictions).toEqual(jobs[0]?.predictions);
  const loaded = async () =>
    (await request('GET', '/v1/workers')).body.data.flatMap((worker: { models: object[] }) => worker.models);
  await expect
    .poll(loaded, BOUND)
    .toEqual([{ model: MODEL, version: SWAPS + 1, backend: 'wasm', loaded: true }]);
});

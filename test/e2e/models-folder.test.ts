/** A folder of bundled models as it lies on real disks: with what systems leave there, with links, and with faults. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const BOUND = { timeout: 20_000 };
const MNIST = join(ROOT, 'deploy/models/mnist/1');
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const described = readFileSync(join(MNIST, 'model.yaml'), 'utf8').replace(/^(name|version): .*\n/gm, '');
const place = temporaryFolder();
const models = join(place.path, 'models');

function copy(folder: string, more: Record<string, string> = {}): void {
  cpSync(MNIST, folder, { recursive: true });
  writeFileSync(join(folder, 'model.yaml'), described);
  for (const [path, content] of Object.entries(more)) writeFileSync(join(folder, path), content);
}

let stack: Stack;
beforeAll(async () => {
  copy(join(models, 'mnist/1'), { '.DS_Store': 'x', '._model.json': 'x' });
  for (const junk of ['lost+found', '.git', '@eaDir', '.ipynb_checkpoints'])
    copy(join(models, junk, '1'), { 'model.yaml': 'a: [' });
  // A release that is swapped by a link, and a version that is one.
  copy(join(place.path, 'rev-7/1'));
  symlinkSync(join(place.path, 'rev-7'), join(models, 'linked'));
  symlinkSync(join(place.path, 'rev-7/1'), join(models, 'mnist/2'));
  // Files as Kubernetes mounts a ConfigMap.
  copy(join(models, 'mounted/1/..2026_11_28'));
  symlinkSync('..2026_11_28', join(models, 'mounted/1/..data'));
  for (const file of readdirSync(MNIST)) symlinkSync(`..data/${file}`, join(models, 'mounted/1', file));
  mkdirSync(join(models, 'outside/1'), { recursive: true });
  for (const file of readdirSync(MNIST))
    symlinkSync(join(place.path, 'rev-7/1', file), join(models, 'outside/1', file));
  copy(join(models, 'odd/v1'));
  for (const name of ['0.1', '0000001', '0']) mkdirSync(join(models, 'odd', name));
  copy(join(models, 'bare'));
  copy(join(models, 'Upper/1'));
  copy(join(models, 'broken/1'), { 'model.yaml': 'colour: red\nrun: rm\n' });
  copy(join(models, 'broken/9007199254740993'));
  copy(join(models, 'garbled/1'), { 'model.json': '{"format": "layers-model", "modelTopology": {' });
  mkdirSync(join(models, 'text/1'), { recursive: true });
  writeFileSync(join(models, 'text/1/saved_model.pbtxt'), '');
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS_DIR: models });
  await stack.ready();
});
afterAll(async () => {
  await stack.close();
  place.remove();
});

/** Everything that the API and the worker have told of the folder, each once. */
const told = () =>
  [
    ...new Set(
      stack
        .output()
        .split('\n')
        .filter((line) => /not served|passed over/.test(line))
        .map((line) => `${line.includes('"level":50') ? 'error' : 'warn'} ${JSON.parse(line).why}`),
    ),
  ].sort();

it.each(['mnist@1', 'mnist@2', 'linked', 'mounted'])('%s is served', async (model) => {
  const { body } = await stack.request('POST', '/v1/jobs?wait=20', { ...digit, model });
  expect(body, JSON.stringify(body)).toMatchObject({ status: 'succeeded' });
});

it('names in the log what is no version and what has faults, and is silent about the rest', async () => {
  await expect.poll(() => told().length, BOUND).toBe(9);
  expect(told()).toEqual([
    expect.stringMatching(/^error broken\/1\/model.yaml: .*\/colour .*; \/run /),
    expect.stringMatching(/^error broken\/9007199254740993\/model.yaml: \/version .*9007199254740991/),
    'error text/1: saved_model.pbtxt is the text form of a SavedModel: save it as binary, saved_model.pb',
    expect.stringContaining('warn Upper is no name for a model'),
    'warn bare holds a model itself: move its files to bare/1',
    ...['0', '0.1', '0000001', 'v1'].map(
      (name) => `warn odd/${name} is no version: versions are folders called 1, 2, 3 and so on`,
    ),
  ]);
});

it('fails a version whose files are links to other places, with the reason', async () => {
  const version = async () => (await stack.request('GET', '/v1/models/outside/versions/1')).body;
  await expect.poll(async () => (await version()).state, BOUND).toBe('failed');
  expect((await version()).error).toMatch(
    /model.json is a link, or leads through one, that leaves the folder/,
  );
});

it('shows as failed, with the reason, what cannot be read', async () => {
  const { body: model } = await stack.request('GET', '/v1/models/broken');
  expect(model.versions).toMatchObject([
    { version: 1, state: 'failed', workers: 0, waitingFor: null, signature: null, batching: null },
  ]);
  for (const [name, why] of [
    ['broken', /^broken\/1\/model.yaml: .*\/colour .*; \/run /],
    ['text', /^text\/1: saved_model.pbtxt is the text form of a SavedModel/],
  ] as const) {
    const { body: version } = await stack.request('GET', `/v1/models/${name}/versions/1`);
    expect({ name, state: version.state }).toEqual({ name, state: 'failed' });
    expect(version.error).toMatch(why);
    expect(version.error).not.toContain(place.path);
    const job = await stack.request('POST', '/v1/jobs', { ...digit, model: name });
    expect({ status: job.status, code: job.body.code }).toEqual({ status: 409, code: 'model_failed' });
    expect(job.body.detail).toBe(version.error);
    const schema = await stack.request('GET', `/v1/models/${name}/versions/1/schema`);
    expect(schema).toMatchObject({ status: 409, body: { code: 'model_failed', detail: version.error } });
  }
  const purge = await stack.request('DELETE', '/v1/models/text/versions/1?purge=true');
  expect(purge.body.code).toBe('model_bundled');
});

it('shows as failed, with the reason and its signature, what a worker cannot load', async () => {
  const version = async () => (await stack.request('GET', '/v1/models/garbled/versions/1')).body;
  await expect.poll(async () => (await version()).state, BOUND).toBe('failed');
  expect((await version()).error).toMatch(/^model.json is no JSON object: it may have been cut off/);
  expect((await version()).signature.inputs).toHaveLength(1);
});

it('serves what was mended', async () => {
  copy(join(models, 'broken/1'));
  await stack.restartApi();
  const version = async () => (await stack.request('GET', '/v1/models/broken/versions/1')).body;
  expect(await version()).toMatchObject({ state: 'pending', error: null, batching: { maxBatchSize: 32 } });
  stack.addWorker();
  await expect.poll(async () => (await version()).state, BOUND).toBe('ready');
  const { body } = await stack.request('POST', '/v1/jobs?wait=20', { ...digit, model: 'broken' });
  expect(body).toMatchObject({ status: 'succeeded' });
});

it('ends a process when all of its versions have faults', async () => {
  const only = join(place.path, 'only');
  copy(join(only, 'broken/1'), { 'model.yaml': 'colour: red\n' });
  const worker = stack.addWorker({ SLUICE_MODELS_DIR: only });
  expect(await exited(worker)).not.toBe(0);
  expect(stack.output()).toContain(`The models in ${only} have faults`);
  rmSync(only, { recursive: true });
});

/**
 * Versions and aliases as an operator moves them under load, and a model of one's own that no wasm worker can run.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { layers, sequential } from '@tensorflow/tfjs-layers';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { saveModel } from '../../deploy/models/artefact.js';
import { computeOn } from '../../deploy/models/compute.js';
import { loadConfig } from '../../shared/contract/config.js';
import { modelViewSchema } from '../../shared/contract/models/model-view.js';
import { compileSchema } from '../../shared/contract/schema.js';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { openSharp } from '../../shared/images/image.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import { IS_LONG } from '../support/long.js';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'sluice-models-'));
const models = join(folder, 'models');
const MNIST = join(ROOT, 'deploy/models/mnist/1');
const CNN = join(ROOT, 'test/fixtures/models/mnist-cnn/1');
/** The models that the worker of all tests serves; a test that is about a worker starts its own, for models of its own. */
const SERVED = ['mnist', 'slow', 'spoilt', 'shifted', 'ranked', 'cnn'];

/** Writes mnist as a version of `name`; with `free`, its files may be changed, because nothing holds them to a digest. */
function writeVersion(name: string, version = 1, { free = false, batching = '' } = {}): string {
  const path = join(models, name, String(version));
  cpSync(MNIST, path, { recursive: true });
  if (free) rmSync(join(path, 'golden.json'));
  editManifest(path, (text) =>
    (free ? text.replace(/^golden: .*\n/m, '').replace(/^files:\n( .*\n)+/m, '') : text)
      .replace(/^name: .*$/m, `name: ${name}`)
      .replace(/^version: 1$/m, `version: ${version}`)
      .replace(/^batching:\n/m, `batching:\n${batching}`),
  );
  return path;
}

/** Writes two versions of the same numbers that batch differently, so that only a result's own word tells them apart. */
function writeTwo(name: string): void {
  writeVersion(name, 1);
  writeVersion(name, 2, { batching: '  targetP99Ms: 50\n  maxBatchBytes: 65536\n' });
}

function editManifest(path: string, edit: (text: string) => string): void {
  const file = join(path, 'model.yaml');
  writeFileSync(file, edit(readFileSync(file, 'utf8')));
}

let stack: Stack;
beforeAll(async () => {
  for (const name of ['mnist', 'spoilt', 'shifted', 'retiring']) writeTwo(name);
  await writeSlow();
  writeSpoilt();
  writeShifted();
  writeRanked();
  for (const name of [...TAKING_TURNS, 'large', 'twice']) writeVersion(name);
  cpSync(CNN, join(models, 'cnn/1'), { recursive: true });
  editManifest(join(models, 'cnn/1'), (text) => text.replace(/^name: .*$/m, 'name: cnn'));
  writePictures();
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS_DIR: models, SLUICE_BACKEND: 'wasm' }, 0);
  addWorker(SERVED);
  await stack.apiReady();
});
afterAll(async () => {
  await stack.close();
  rmSync(folder, { recursive: true, force: true });
});

const addWorker = (names: readonly string[], env: Record<string, string> = {}) =>
  stack.addWorker({ SLUICE_MODELS: names.join(','), ...env });
const submit = (model: string, more: object = {}) =>
  stack.request('POST', '/v1/jobs?wait=20', { ...digit, model, ...more });
const putAlias = (alias: string, body: object, name = 'mnist') =>
  stack.request('PUT', `/v1/models/${name}/aliases/${alias}`, body);
const modelOf = async (name = 'mnist') => (await stack.request('GET', `/v1/models/${name}`)).body;
const states = async (name = 'mnist') =>
  Object.fromEntries(
    (await modelOf(name)).versions.map(({ version, state }: { version: number; state: string }) => [
      version,
      state,
    ]),
  );
/** Waits until a worker serves the versions 1 to `count`. */
const allReady = (name = 'mnist', count = 2) => {
  const ready = Object.fromEntries(Array.from({ length: count }, (_, i) => [i + 1, 'ready']));
  return expect.poll(() => states(name), { timeout: 20_000 }).toEqual(ready);
};

const TAKING_TURNS = ['a', 'b', 'c'];
const NATIVE = ['cnn', 'pictures', 'keras-digits'];
const isModel = new Ajv2020({ strict: false, validateFormats: false }).compile(modelViewSchema);
const MOVES = IS_LONG ? 50 : 6;

describe('an alias', () => {
  it(`moves ${MOVES} times under load: no job fails, each tells the version that computed it`, async () => {
    await allReady();
    expect((await modelOf()).aliases).toEqual({ latest: 2 });
    expect((await putAlias('stable', { version: 1 })).body.aliases).toEqual({ latest: 2, stable: 1 });

    let isOver = false;
    const jobs: { status: string; model: { version: number; alias: string } }[] = [];
    const load = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!isOver) jobs.push((await submit('mnist@stable')).body);
      }),
    );
    for (let swap = 1; swap <= MOVES; swap++) {
      const version = 1 + (swap % 2);
      const before = jobs.length;
      expect((await putAlias('stable', { version })).status).toBe(200);
      // This process means the new version at once, for all that is submitted from now on.
      const { body } = await submit('mnist@stable');
      expect(body).toMatchObject({ status: 'succeeded', model: { version, alias: 'stable' } });
      await expect.poll(() => jobs.length, { timeout: 10_000, interval: 5 }).toBeGreaterThan(before);
    }
    isOver = true;
    await load;
    expect(jobs.filter(({ status }) => status !== 'succeeded')).toEqual([]);
    const versions = new Set(jobs.map(({ model }) => model.version));
    expect([...versions].sort()).toEqual([1, 2]);
    // Counted where the work is done, too: all of them are there.
    const listed = await stack.request('GET', '/v1/jobs?status=failed&model=mnist');
    expect(listed.body.data).toEqual([]);
  });

  it('is refused for what it cannot be', async () => {
    const cases: [string, string, object, string, number, string][] = [
      ['an unknown model', 'stable', { version: 1 }, 'nothing', 404, 'model_not_found'],
      ['an unknown version', 'stable', { version: 9 }, 'mnist', 404, 'model_not_found'],
      ['a number for a name', '3', { version: 1 }, 'mnist', 422, 'invalid_input'],
      ['no version', 'stable', {}, 'mnist', 422, 'invalid_input'],
      ['an unknown field', 'stable', { version: 1, canaries: 5 }, 'mnist', 400, 'unknown_field'],
      [
        'a canary of no share',
        'stable',
        { version: 1, canary: { version: 2, percent: 0 } },
        'mnist',
        422,
        'invalid_input',
      ],
      [
        'itself as a canary',
        'stable',
        { version: 1, canary: { version: 1, percent: 9 } },
        'mnist',
        422,
        'invalid_input',
      ],
      [
        'an unknown canary',
        'stable',
        { version: 1, canary: { version: 9, percent: 9 } },
        'mnist',
        404,
        'model_not_found',
      ],
    ];
    for (const [why, alias, body, name, status, code] of cases)
      expect(await putAlias(alias, body, name), why).toMatchObject({ status, body: { code } });
  });
});

describe('a canary', () => {
  it('loses its share when it computes for longer, though both wait for the one child', async () => {
    await allReady('slow');
    await putAlias('stable', { version: 1, canary: { version: 2, percent: 50, minJobs: 20 } }, 'slow');
    const canaryOf = async () => (await modelOf('slow')).canaries.stable;
    const statuses = new Set<string>();
    await expect
      .poll(
        async () => {
          const answers = await Promise.all(Array.from({ length: 8 }, () => submit('slow@stable')));
          for (const { body } of answers) statuses.add(body.status);
          return (await canaryOf()).state;
        },
        { timeout: 60_000 },
      )
      .toBe('rolled_back');
    expect((await canaryOf()).reason).toMatch(
      /^95 % of its jobs computed up to \S+ times as long as those of the other version /,
    );
    expect(statuses).toEqual(new Set(['succeeded']));
  });

  it('gets its share, and loses it when its jobs fail, though not when they do not', async () => {
    await allReady('spoilt', 3);
    const canaryOf = async () => (await modelOf('spoilt')).canaries.stable;
    const many = async (count: number) => {
      const answers = await Promise.all(Array.from({ length: count }, () => submit('spoilt@stable')));
      return answers.map(({ body }) => body as { status: string; model: { version: number } });
    };

    // The same model: after as many jobs as it takes nothing speaks against it, so it is not rolled back by its errors.
    const good = { version: 2, percent: 50, minJobs: 10, maxSlowdown: 1000 };
    expect(
      (await putAlias('stable', { version: 1, canary: good }, 'spoilt')).body.canaries.stable,
    ).toMatchObject({
      ...good,
      state: 'running',
      maxErrorPercent: 5,
    });
    const shared = await many(100);
    expect(shared.every(({ status }) => status === 'succeeded')).toBe(true);
    const own = shared.filter(({ model }) => model.version === 2).length;
    expect(own).toBeGreaterThan(20);
    expect(own).toBeLessThan(80);

    const bad = { version: 3, percent: 50, minJobs: 10, maxSlowdown: 1000 };
    await putAlias('stable', { version: 1, canary: bad }, 'spoilt');
    const harmed: { status: string; model: { version: number } }[] = [];
    await expect
      .poll(
        async () => {
          harmed.push(...(await many(8)));
          return (await canaryOf()).state;
        },
        { timeout: 30_000 },
      )
      .toBe('rolled_back');
    const rolledBack = await modelOf('spoilt');
    expect(rolledBack.canaries.stable.reason).toMatch(/^100 % of its \d+ jobs failed, at most 5 % may$/);
    for (const { status, model } of harmed) expect(status).toBe(model.version === 3 ? 'failed' : 'succeeded');
    expect(stack.output()).toMatch(/canary rolled back/);
    // The API may have read the model a second ago.
    await expect.poll(async () => (await many(8)).every(({ model }) => model.version === 1)).toBe(true);
    expect(
      (await many(30)).filter(({ status, model }) => status !== 'succeeded' || model.version !== 1),
    ).toEqual([]);

    await putAlias('stable', { version: 2 }, 'spoilt');
    expect(await modelOf('spoilt')).toMatchObject({ aliases: { stable: 2 }, canaries: {} });
    // The canary above stood in it, too.
    expect(isModel(rolledBack), JSON.stringify(isModel.errors)).toBe(true);
    expect(rolledBack.versions.map(({ workers }: { workers: number }) => workers)).toEqual([1, 1, 1]);
  });
});

describe('a shadow', () => {
  it('is given copies that nobody sees, and told how they compare', async () => {
    await allReady('shifted', 3);
    const shadowOf = async () => (await modelOf('shifted')).shadows.stable;
    const many = async (count: number) => {
      const answers = await Promise.all(Array.from({ length: count }, () => submit('shifted@stable')));
      for (const { body } of answers)
        expect(body).toMatchObject({ status: 'succeeded', model: { version: 1 } });
    };
    for (const [version, agreed] of [
      [2, 20],
      [3, 0],
    ]) {
      await putAlias('stable', { version: 1, shadow: { version, percent: 100 } }, 'shifted');
      await many(20);
      await expect
        .poll(shadowOf, { timeout: 20_000 })
        .toEqual({ version, percent: 100, compared: 20, agreed, failed: 0 });
    }
    const listed = await stack.request('GET', '/v1/jobs?limit=100&model=shifted');
    expect(listed.body.data).toHaveLength(40);
    await putAlias('stable', { version: 1 }, 'shifted');
    expect((await modelOf('shifted')).shadows).toEqual({});
  });
});

describe('a retired version', () => {
  it('takes no new jobs, computes those that it had, and gets no alias', async () => {
    const queued = await stack.request('POST', '/v1/jobs', { ...digit, model: 'retiring@1' });
    expect(queued.status).toBe(202);
    await putAlias('old', { version: 1 }, 'retiring');
    const retired = await stack.request('DELETE', '/v1/models/retiring/versions/1');
    expect(retired.status).toBe(200);
    expect(await states('retiring')).toEqual({ 1: 'retired', 2: 'pending' });
    for (const model of ['retiring@1', 'retiring@old'])
      expect(await submit(model)).toMatchObject({ status: 410, body: { code: 'version_retired' } });
    expect(await putAlias('stable', { version: 1 }, 'retiring')).toMatchObject({ status: 410 });
    expect((await stack.request('DELETE', '/v1/models/retiring/versions/7')).status).toBe(404);

    addWorker(['retiring']);
    const ended = await stack.request('GET', `/v1/jobs/${queued.body.id}?wait=30`);
    expect(ended.body).toMatchObject({ status: 'succeeded', model: { version: 1 } });
    await expect.poll(() => states('retiring'), { timeout: 20_000 }).toEqual({ 1: 'retired', 2: 'ready' });
    const again = await stack.request('POST', `/v1/jobs/${queued.body.id}/retry`);
    expect(again).toMatchObject({ status: 410, body: { code: 'version_retired' } });
  });
});

describe('models that do not fit into memory together', () => {
  it('take turns, and every job is computed by its own', async () => {
    const size = ['model.json', 'group1-shard1of1.bin', 'golden.json'].reduce(
      (sum, file) => sum + statSync(join(MNIST, file)).size,
      0,
    );
    const first = addWorker(TAKING_TURNS, { LOG_LEVEL: 'info', SLUICE_MODEL_BYTES: String(2 * size) });
    const rounds = Array.from({ length: 8 }, () => TAKING_TURNS).flat();
    const answers = await Promise.all(rounds.map((name) => submit(name)));
    for (const [index, { body }] of answers.entries())
      expect(body).toMatchObject({ status: 'succeeded', model: { name: rounds[index], version: 1 } });
    // One had to go for the third to be checked at the start, and was needed again.
    for (const { body } of await Promise.all(TAKING_TURNS.map((name) => submit(name))))
      expect(body.status).toBe('succeeded');
    expect(stack.output().match(/version unloaded/g)?.length).toBeGreaterThanOrEqual(2);
    await ended(first);

    const second = addWorker(['large'], { SLUICE_MODEL_BYTES: String(size - 1) });
    await expect
      .poll(async () => (await modelOf('large')).versions, { timeout: 20_000 })
      .toMatchObject([{ state: 'pending', error: expect.stringContaining(`memory for ${size - 1}`) }]);
    await ended(second);

    // A copy for each child.
    const room = { SLUICE_CHILDREN: '2', SLUICE_MODEL_BYTES: String(2 * size - 1) };
    const third = addWorker(['twice'], room);
    await expect
      .poll(async () => (await modelOf('twice')).versions, { timeout: 20_000 })
      .toMatchObject([{ state: 'pending', error: expect.stringContaining(`it takes ${2 * size} bytes`) }]);
    await ended(third);
  });
});

describe('a version with a postprocess block', () => {
  it('answers the best labels with their scores, as its schema says', async () => {
    const { body: job } = await submit('ranked');
    expect(job).toMatchObject({ status: 'succeeded', predictions: [[{ label: '7' }, {}, {}]] });
    const [[first, second, third]] = job.predictions;
    expect(first.score).toBeGreaterThan(0.9);
    expect(second.score).toBeGreaterThanOrEqual(third.score);
    const schema = (await stack.request('GET', '/v1/models/ranked/versions/1/schema')).body;
    const check = compileSchema(schema.prediction);
    expect(check(job.predictions[0])).toBeNull();
    expect(check([first, second])).toMatchObject({ message: expect.stringContaining('at least 3') });
  });
});

describe('an alias whose worker starts again', () => {
  it('stays where it was put', async () => {
    await allReady();
    const latest = (await modelOf()).aliases.latest;
    await putAlias('latest', { version: 1 });
    for (const worker of stack.workers) worker.kill('SIGKILL');
    addWorker(SERVED, { LOG_LEVEL: 'info' });
    const ready = () => stack.output().match(/"model":"mnist".*version ready/g)?.length;
    await expect.poll(ready, { timeout: 20_000 }).toBe(2);
    expect(latest).toBe(2);
    expect((await modelOf()).aliases).toMatchObject({ latest: 1 });
    expect((await submit('mnist')).body).toMatchObject({ model: { version: 1, alias: 'latest' } });
  });
});

describe('a SavedModel', () => {
  const golden = JSON.parse(readFileSync(join(CNN, 'golden.json'), 'utf8'));
  const body = { model: 'cnn', instances: golden.instances };

  it('waits, with its jobs and the reason, for a worker that can run it', async () => {
    const [version] = await expect
      .poll(async () => (await modelOf('cnn')).versions, { timeout: 20_000 })
      .toMatchObject([{ state: 'pending', error: expect.stringContaining('runs the format saved_model') }])
      .then(async () => (await modelOf('cnn')).versions);
    expect(version.signature.inputs).toEqual([{ name: 'image', dtype: 'float32', shape: [28, 28, 1] }]);
    const queued = await stack.request('POST', '/v1/jobs', body);
    expect(queued.body).toMatchObject({ status: 'queued', queuePosition: 0 });
    if (!fault) addWorker(NATIVE, { SLUICE_BACKEND: 'native' });
  });

  it('is brought from Keras to a result as it is written', async () => {
    const text = readFileSync(join(ROOT, 'deploy/guides/serve-a-model.md'), 'utf8');
    const [, block = ''] = /```sh\n(python3[\s\S]*?)```/.exec(text) ?? [];
    const [exporting = '', ...others] = block.trim().split('\n');
    expect(exporting).toContain(".export('export')");
    const place = join(folder, 'keras');
    mkdirSync(join(place, 'bin'), { recursive: true });
    mkdirSync(join(place, '.sluice'));
    // In the place of Python: what Keras has exported lies in the fixtures.
    const exported = `cp -r ${CNN} export && rm export/model.yaml export/golden.json`;
    const python = join(place, 'bin/python3');
    writeFileSync(python, `#!/bin/sh\n${exported}\n`, { mode: 0o755 });
    writeFileSync(join(place, '.sluice/api-key'), stack.key);
    const wait = fault ? '' : '?wait=30';
    const script = [exporting.replace(/^python3/, python), ...others]
      .join('\n')
      .replaceAll('http://127.0.0.1:8080', stack.url)
      .replace('?wait=30', wait);
    const { stdout } = await promisify(execFile)('bash', ['-ec', script], { cwd: place });
    const [version, schema, job] = stdout.split(/(?<=\})(?=\{)/).map((answer) => JSON.parse(answer));
    expect(version).toMatchObject({
      version: 1,
      state: 'pending',
      signature: { inputs: [{ shape: [28, 28, 1] }] },
    });
    expect(schema.prediction).toMatchObject({ type: 'array', minItems: 10, maxItems: 10 });
    expect(job.status).toBe(fault ? 'queued' : 'succeeded');
  });

  const fault = faultOfInstall(loadConfig().SLUICE_CACHE_DIR, 'cpu');
  if (fault)
    console.warn(
      `\n!!! SKIPPED: no SavedModel is served: ${fault}. To have it: npm run backend:install -- cpu\n`,
    );
  it.skipIf(fault !== null)('is served as Keras computes it, in any batch, within 1e-5', async () => {
    const answers = await Promise.all([
      stack.request('POST', '/v1/jobs?wait=30', body),
      ...golden.instances.map((instance: unknown) =>
        stack.request('POST', '/v1/jobs?wait=30', { model: 'cnn', instances: [instance] }),
      ),
    ]);
    const [whole, ...single] = answers.map((answer) => answer.body);
    expect(whole).toMatchObject({ status: 'succeeded', timings: { backend: 'native' } });
    for (const [i, { output_0: output }] of golden.outputs.entries()) {
      const bytes = Buffer.from(output.b64, 'base64');
      const expected = Array.from({ length: 10 }, (_, at) => bytes.readFloatLE(at * 4));
      for (const row of [whole.predictions[i], single[i].predictions[0]])
        expect(Math.max(...expected.map((value, at) => Math.abs(value - row[at])))).toBeLessThan(1e-5);
    }
  });

  it.skipIf(fault !== null)('takes pictures where its manifest says so', async () => {
    const values = toTypedArray('float32', Buffer.from(golden.instances[0].b64, 'base64'));
    const pixels = Uint8Array.from(values as Float32Array, (value) => Math.round(value * 255));
    const exact = await openSharp(pixels, { raw: { width: 28, height: 28, channels: 1 } });
    const larger = exact.clone().resize(280, 280, { kernel: 'nearest' });
    const instances = await Promise.all(
      [exact, larger].map(async (image) => ({
        image: { b64: (await image.png().toBuffer()).toString('base64') },
      })),
    );
    const { body: job } = await stack.request('POST', '/v1/jobs?wait=30', { model: 'pictures', instances });
    expect(job.status).toBe('succeeded');
    const bytes = Buffer.from(golden.outputs[0].output_0.b64, 'base64');
    const expected = Array.from({ length: 10 }, (_, at) => bytes.readFloatLE(at * 4));
    const [same, resized] = job.predictions as number[][];
    for (const [at, value] of expected.entries()) expect(same?.[at]).toBeCloseTo(value, 5);
    expect(resized?.indexOf(Math.max(...resized))).toBe(expected.indexOf(Math.max(...expected)));
  });
});

async function ended(worker: ChildProcess): Promise<void> {
  worker.kill('SIGTERM');
  await exited(worker);
}

/** Version 3 has weights that are not numbers: it loads, having no golden vectors, and fails its jobs. */
function writeSpoilt(): void {
  const file = join(writeVersion('spoilt', 3, { free: true }), 'group1-shard1of1.bin');
  const weights = readFileSync(file);
  new Float32Array(weights.buffer, weights.byteOffset, weights.length / 4).fill(Number.NaN);
  writeFileSync(file, weights);
}

/** Version 3 is the same network but for the first of its ten biases: it says "0" whatever it is shown. */
function writeShifted(): void {
  const file = join(writeVersion('shifted', 3, { free: true }), 'group1-shard1of1.bin');
  const weights = readFileSync(file);
  weights.writeFloatLE(1000, weights.length - 40);
  writeFileSync(file, weights);
}

/** Version 2 answers as many numbers after a hundred times the multiplications. */
async function writeSlow(): Promise<void> {
  writeVersion('slow', 1);
  const path = writeVersion('slow', 2, { free: true });
  await computeOn('cpu');
  const model = sequential({ layers: [layers.reshape({ inputShape: [784], targetShape: [28, 28, 1] })] });
  for (let depth = 0; depth < 3; depth++)
    model.add(layers.conv2d({ filters: 32, kernelSize: 3, padding: 'same', activation: 'relu' }));
  model.add(layers.flatten());
  model.add(layers.dense({ units: 10, activation: 'softmax' }));
  await saveModel(model, path);
  model.dispose();
}

function writeRanked(): void {
  editManifest(writeVersion('ranked'), (text) =>
    text.replace(/^batching:$/m, '      postprocess: { topK: 3 }\nbatching:'),
  );
}

/** The SavedModel with the manifest that the README of deploy/models shows for pictures. */
function writePictures(): void {
  const path = join(models, 'pictures/1');
  cpSync(CNN, path, { recursive: true });
  rmSync(join(path, 'golden.json'));
  const text = readFileSync(join(ROOT, 'deploy/guides/describe-a-model.md'), 'utf8');
  const [, said = ''] = /```yaml\n(signature:[\s\S]*?)```/.exec(text) ?? [];
  writeFileSync(join(path, 'model.yaml'), said);
}

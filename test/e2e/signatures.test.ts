/**
 * Signatures as people's models have them, from outside: names, side inputs, fixed batches, several signatures, and versions
 * that cannot stand in for each other.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { loadConfig } from '../../shared/contract/config.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { faultOfOnnxRuntime } from '../../shared/native/onnx-runtime.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import { createBatchFiles } from '../support/batch-files.js';
import { ONNX_FIXTURES } from '../support/onnx-models.js';
import { editSavedModel } from '../support/saved-model-edit.js';
import { type Answer, ROOT, type Stack, startStack } from '../support/stack.js';
import { type TinyModel, writeModel } from '../support/tiny-models.js';
import { partsOf, postVersion } from '../support/uploads.js';

const BOUND = { timeout: 30_000 };
const FIXTURES = join(ROOT, 'test/fixtures/signatures');
const OPERATIONS = join(ROOT, 'test/fixtures/operations');
const DTYPES = join(ROOT, 'test/fixtures/dtypes');
const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
const onnxFault = faultOfOnnxRuntime(SLUICE_CACHE_DIR);
if (nativeFault)
  console.warn(
    `\n!!! SKIPPED: no signature of a SavedModel is served: ${nativeFault}. To have it: npm run backend:install -- cpu\n`,
  );
if (onnxFault)
  console.warn(
    `\n!!! SKIPPED: no ONNX file is served: ${onnxFault}. To have it: npm run backend:install -- onnx\n`,
  );
const folder = mkdtempSync(join(tmpdir(), 'sluice-signatures-'));
let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), {
    SLUICE_BACKEND: nativeFault ? 'cpu' : 'native',
    SLUICE_CACHE_DIR: join(folder, 'cache'),
    SLUICE_LIBRARIES_DIR: SLUICE_CACHE_DIR,
  });
  await stack.ready();
}, 60_000);
afterAll(async () => {
  await stack.close();
  rmSync(folder, { recursive: true, force: true });
});

type Files = Record<string, string | Uint8Array<ArrayBuffer>>;

function filesIn(path: string): Files {
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).map((name) => join(path, name));
  const files = names.filter((name) => statSync(name).isFile() && !name.endsWith('expected.json'));
  return Object.fromEntries(files.map((name) => [relative(path, name), new Uint8Array(readFileSync(name))]));
}

const upload = (name: string, files: Files, yaml = '', query = ''): Promise<Answer> =>
  postVersion(stack, name, partsOf(Object.entries({ ...files, ...(yaml && { 'model.yaml': yaml }) })), query);

const versionOf = async (name: string, version = 1) =>
  (await stack.request('GET', `/v1/models/${name}/versions/${version}`)).body;

/** Uploads a version and waits until it serves. */
async function serve(name: string, files: Files, yaml = '') {
  const { status, body } = await upload(name, files, yaml);
  expect(body, JSON.stringify(body)).toMatchObject({ state: expect.any(String) });
  expect(status).toBe(202);
  const ended = expect.poll(async () => (await versionOf(name, body.version)).state, BOUND);
  await ended.toMatch(/ready|failed/);
  const version = await versionOf(name, body.version);
  expect(version.error).toBeNull();
  return version;
}

const submit = (body: object) => stack.request('POST', '/v1/jobs?wait=20', body);
const predictionsOf = async (body: object) => {
  const answer = await submit(body);
  expect(answer.body.status, JSON.stringify(answer.body)).toBe('succeeded');
  return answer.body.predictions;
};
const expectedOf = (name: string, fixtures = FIXTURES) =>
  JSON.parse(readFileSync(join(fixtures, name, '1/expected.json'), 'utf8'));

/** x in, -x and 2x out, under names of the caller's choice; the order of the conversion is not that of the names. */
function writeTwin(name: string, [negated, doubled]: [string, string], batch = '-1'): TinyModel {
  const shape = { dim: [{ size: batch }, { size: '2' }] };
  const tensor = (node: string) => ({ name: `${node}:0`, dtype: 'DT_FLOAT', tensorShape: shape });
  const node = (own: string, op: string, ...input: string[]) => ({
    name: own,
    op,
    input,
    attr: { T: { type: 'DT_FLOAT' } },
  });
  const model = writeModel(folder, {
    name,
    format: 'graph',
    inputs: [],
    outputs: [],
    topology: {
      node: [
        { name: 'x', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' }, shape: { shape } } },
        node('Identity', 'Neg', 'x'),
        node('Identity_1', 'AddV2', 'x', 'x'),
      ],
      versions: { producer: 1 },
    },
    signature: {
      inputs: { 'input.1': tensor('x') },
      outputs: { [doubled]: tensor('Identity_1'), [negated]: tensor('Identity') },
    },
  });
  return model;
}

/** x in, x and a random number between 0 and 1 out. */
function writeNoise(): TinyModel {
  const shape = { dim: [{ size: '-1' }, { size: '2' }] };
  const tensor = (name: string) => ({ name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape: shape });
  const float = { type: 'DT_FLOAT' };
  return writeModel(folder, {
    name: 'noise',
    format: 'graph',
    inputs: [],
    outputs: [],
    topology: {
      node: [
        { name: 'x', op: 'Placeholder', attr: { dtype: float, shape: { shape } } },
        { name: 'size', op: 'Shape', input: ['x'], attr: { T: float } },
        { name: 'drawn', op: 'RandomUniform', input: ['size'], attr: { dtype: float } },
        { name: 'y', op: 'AddV2', input: ['x', 'drawn'], attr: { T: float } },
      ],
      versions: { producer: 1 },
    },
    signature: { inputs: { x: tensor('x') }, outputs: { y: tensor('y') } },
  });
}

const filesOf = ({ folder: path }: { folder: string; manifest: Manifest }) => filesIn(path);

describe('a graph model of TensorFlow.js', () => {
  it('needs no model.yaml, and is served under the names of its signature', async () => {
    const { signature } = await serve('twin', filesOf(writeTwin('twin', ['gender_pred/Sigmoid', 'größe:0'])));
    expect(signature.inputs).toEqual([{ name: 'input.1', dtype: 'float32', shape: [2] }]);
    const instances = [[1, -3]];
    expect(await predictionsOf({ model: 'twin', instances })).toEqual([
      { 'gender_pred/Sigmoid': [-1, 3], 'größe:0': [2, -6] },
    ]);
    expect(await predictionsOf({ model: 'twin', instances, outputs: ['gender_pred/Sigmoid'] })).toEqual([
      [-1, 3],
    ]);
    const { status, body } = await submit({ model: 'twin', instances, outputs: ['größe:0', 'age'] });
    expect(status).toBe(422);
    expect(body.errors).toEqual([
      {
        path: '/outputs/1',
        message: expect.stringMatching(/^is no output of this version; there are: .*gender_pred\/Sigmoid/),
      },
    ]);
  });

  it('keeps the predictions of each selection by itself', async () => {
    const job = { model: 'twin', instances: [[5, 6]], cacheSeconds: 60 };
    expect(await predictionsOf({ ...job, outputs: ['größe:0'] })).toEqual([[10, 12]]);
    expect(await predictionsOf({ ...job, outputs: ['gender_pred/Sigmoid'] })).toEqual([[-5, -6]]);
    expect(await predictionsOf({ ...job, outputs: ['größe:0'] })).toEqual([[10, 12]]);
  });

  it('has its outputs renamed and left out, and never exchanged', async () => {
    const files = filesOf(writeTwin('renamed', ['a', 'b']));
    const yaml = 'signature: {outputs: [{name: twice, from: b}]}';
    await serve('renamed', files, yaml);
    expect(await predictionsOf({ model: 'renamed', instances: [[1, 2]] })).toEqual([[2, 4]]);
    const { status, body } = await upload('swapped', files, 'signature: {outputs: [{name: c}, {name: d}]}');
    expect(status).toBe(422);
    expect(body.errors.map(({ path }: { path: string }) => path)).toEqual([
      '/model.yaml/signature/outputs/0/name',
      '/model.yaml/signature/outputs/1/name',
    ]);
  });

  it.each(['1', '4'])('with a fixed batch of %s takes any number of instances', async (batch) => {
    const name = `fixed${batch}`;
    const version = await serve(name, filesOf(writeTwin(name, ['a', 'b'], batch)));
    expect(version.batching.maxBatchSize).toBe(Number(batch));
    const instances = Array.from({ length: 6 }, (_, i) => [i, -i]);
    const predictions = await predictionsOf({ model: name, instances, outputs: ['a'] });
    expect(predictions).toEqual(instances.map(([x = 0, y = 0]) => [0 - x, 0 - y]));
  });

  it('that draws random numbers is served where its model.yaml says so, and nothing of it is kept', async () => {
    const files = filesOf(writeNoise());
    const refused = await upload('noise', files);
    expect(refused.status).toBe(422);
    expect(refused.body.errors).toEqual([
      {
        path: '/model.json',
        message: expect.stringMatching(/RandomUniform \(random numbers .*`stateful: allow` in model\.yaml/),
      },
    ]);
    const version = await serve('noise', files, 'stateful: allow');
    expect(version).toMatchObject({ stateful: true, warnings: [] });
    const job = { model: 'noise', instances: [[1, 2]] };
    const [one, other] = [await predictionsOf(job), await predictionsOf(job)];
    expect(one).not.toEqual(other);
    for (const [x = 0, y = 0] of [...one, ...other]) {
      expect(Math.floor(x)).toBe(1);
      expect(Math.floor(y)).toBe(2);
    }
    const { status, body } = await submit({ ...job, cacheSeconds: 60 });
    expect(status).toBe(422);
    expect(body.errors).toEqual([
      {
        path: '/cacheSeconds',
        message:
          'is for models that answer an equal job the same; noise@1 draws random numbers (stateful: allow)',
      },
    ]);
    const quantized = await upload('noise', files, 'stateful: allow', '?quantize=uint8');
    expect(quantized.body.errors).toEqual([
      { path: '?quantize', message: expect.stringMatching(/^needs predictions that chance does not change/) },
    ]);
    expect((await versionOf('twin')).stateful).toBe(false);
  });

  it('of strings is refused at upload, with the reason', async () => {
    const files = filesOf(writeTwin('text', ['a', 'b']));
    const model = new TextDecoder().decode(files['model.json'] as Uint8Array<ArrayBuffer>);
    const { status, body } = await upload('text', {
      ...files,
      'model.json': model.replace('"dtype":"DT_FLOAT"', '"dtype":"DT_STRING"'),
    });
    expect(status).toBe(422);
    expect(body.errors[0].message).toMatch(
      /is string, which TensorFlow\.js does not compute; export .* SavedModel/,
    );
  });

  it('of another signature is no canary and no shadow', async () => {
    await serve('twin', filesOf(writeTwin('other', ['a', 'b'])));
    for (const kind of ['canary', 'shadow']) {
      const { status, body } = await stack.request('PUT', '/v1/models/twin/aliases/stable', {
        version: 1,
        [kind]: { version: 2, percent: 50 },
      });
      expect(status).toBe(422);
      expect(body.errors[0]).toEqual({
        path: `/${kind}/version`,
        message: expect.stringMatching(/^does not take the jobs of version 1: it has no output /),
      });
    }
  });
});

describe.skipIf(nativeFault !== null)('a SavedModel', () => {
  it('takes and gives integers of 64 bits and floats exactly', async () => {
    const { inputs, outputs } = expectedOf('numbers', DTYPES);
    await serve('numbers', filesIn(join(DTYPES, 'numbers/1')));
    const row = (columns: Record<string, unknown[]>) =>
      Object.fromEntries(Object.entries(columns).map(([name, [first]]) => [name, first]));
    const job = { model: 'numbers', instances: [row(inputs)], cacheSeconds: 60 };
    const expected = [JSON.parse(JSON.stringify(row(outputs)))];
    expect(await predictionsOf(job)).toEqual(expected);
    // Kept predictions are the same; those of an input that differs in its last digit are others.
    expect(await predictionsOf(job)).toEqual(expected);
    const other = { ...row(inputs), int64: ['-9223372036854775808', '9007199254740995'] };
    const [prediction] = await predictionsOf({ ...job, instances: [other] });
    expect(prediction.int64_flipped).toEqual(['-9223372036854775807', '9007199254740994']);
    const { status, body } = await submit({ ...job, instances: [{ ...other, int64: [2 ** 53, 0] }] });
    expect(status).toBe(422);
    expect(body.errors).toEqual([
      { path: '/instances/0/int64/0', message: expect.stringMatching(/^is beyond 2\^53 - 1/) },
    ]);
  });

  it('takes text, bytes and files as strings, also line by line', async () => {
    const { signature } = await serve('sound', filesIn(join(DTYPES, 'samples/1')));
    expect(signature.inputs).toEqual([{ name: 'sound', dtype: 'string', shape: [] }]);
    const send = async (path: string, body: FormData | string) => {
      const type = typeof body === 'string' && { 'content-type': 'application/x-ndjson' };
      const headers = { authorization: `Bearer ${stack.key}`, ...type };
      return (await fetch(`${stack.url}/v1/${path}`, { method: 'POST', headers, body })).json();
    };
    const form = new FormData();
    form.append('file', new Blob([Uint8Array.of(0, 128, 255, 127)]), 'sound.raw');
    const { id } = (await send('files', form)) as { id: string };
    const instances = [
      { b64: 'AQD//w==' },
      { file: id },
      '\u0001\u0000\u0002\u0000',
      { sound: { b64: 'AQACAA==' } },
    ];
    const expected = [
      [1, -1],
      [-32768, 32767],
      [1, 2],
      [1, 2],
    ];
    expect(await predictionsOf({ model: 'sound', instances })).toEqual(expected);
    const lines = instances.map((instance) => JSON.stringify({ model: 'sound', instances: [instance] }));
    const { results } = (await send('jobs/bulk', lines.join('\n'))) as { results: { job: { id: string } }[] };
    const ended = await Promise.all(
      results.map(({ job }) => stack.request('GET', `/v1/jobs/${job.id}?wait=20`)),
    );
    expect(ended.flatMap(({ body }) => body.predictions)).toEqual(expected);
    const { body } = await submit({ model: 'sound', instances: [['text']] });
    expect(body.errors[0]).toMatchObject({
      path: '/instances/0',
      message: expect.stringMatching(/1 levels of nesting/),
    });
  });

  it('of several signatures computes the one that a job names', async () => {
    const files = filesIn(join(FIXTURES, 'codec/1'));
    const refused = await upload('codec', files);
    expect(refused.status).toBe(422);
    expect(refused.body.errors[0].message).toMatch(/signatures .*"encode".* choose one by `signatureName`/);
    const version = await serve('codec', files, 'signatureName: encode');
    expect(version.signatureName).toBe('encode');
    expect(Object.keys(version.signatures)).toEqual(['decode']);
    const { decode } = expectedOf('codec');
    const instances = decode.inputs.code;
    const predictions = await predictionsOf({ model: 'codec', signatureName: 'decode', instances });
    for (const [row, values] of decode.outputs.x.entries())
      values.forEach((value: number, i: number) => void expect(predictions[row][i]).toBeCloseTo(value, 5));
    const { status, body } = await submit({ model: 'codec', signatureName: 'embed', instances });
    expect(status).toBe(422);
    expect(body.errors).toEqual([
      { path: '/signatureName', message: 'is no signature of this version; there are: encode, decode' },
    ]);
  });

  it('looks up in the tables of its own vocabulary, and draws random numbers if it may', async () => {
    const tables = filesIn(join(OPERATIONS, 'tables/1'));
    const { 'assets/words.txt': _, ...without } = tables;
    const refused = await upload('tables', without);
    expect(refused.body.errors).toEqual([
      {
        path: '/saved_model.pb',
        message: 'the SavedModel reads the asset assets/words.txt, which is no file of the version',
      },
    ]);
    await serve('tables', tables);
    const [found] = await predictionsOf({ model: 'tables', instances: [{ ids: [7, 1, 5] }] });
    expect(found).toMatchObject({ words: [0, 4, 4], grown: [-1, -1, 50], integers: [1, 1, 0, 0] });
    const chance = filesIn(join(OPERATIONS, 'chance/1'));
    const { status, body } = await upload('chance', chance);
    expect(status).toBe(422);
    expect(body.errors[0].message).toMatch(
      /^its signature uses RandomStandardNormal .* say `stateful: allow` in model\.yaml$/,
    );
    const version = await serve('chance', chance, 'stateful: allow');
    expect(Object.keys(version.signatures).sort()).toEqual(['count', 'flip', 'generator']);
    const job = { model: 'chance', instances: [[0, 0, 0]], outputs: ['z'] };
    expect(await predictionsOf(job)).not.toEqual(await predictionsOf(job));
  });

  it('looks up texts line by line of a batch, and gives them back as they were', async () => {
    const words = ['größer', '🦒', 'a\u2028b "c" \\'];
    const known = { 'assets/words.txt': `${words.join('\n')}\n` };
    await serve('vocabulary', { ...filesIn(join(OPERATIONS, 'texts/1')), ...known });
    const batchFiles = createBatchFiles(stack);
    const batch = await batchFiles.create(
      [
        ...words.map((word) => ({ instances: [[word, 'unknown']] })),
        { instances: [[{ b64: Buffer.from(words[1] ?? '').toString('base64') }, '']], outputs: ['number'] },
        { instances: [[words[0], 7]] },
        { instances: [[words[0]]] },
        '{"instances": [["\\ud800", ""]]}',
      ],
      { model: 'vocabulary' },
    );
    const { counts, outputFile, errorFile } = await batchFiles.ended(batch.id);
    expect(counts).toMatchObject({ total: 7, succeeded: 4, failed: 3 });
    const written = await batchFiles.linesOf(outputFile);
    expect(written.map(({ predictions }) => predictions)).toEqual([
      ...words.map((word, i) => [{ number: [i + 1, 0], word: [word, '[UNK]'] }]),
      [[2, 0]],
    ]);
    const errors = await batchFiles.linesOf(errorFile);
    expect(errors.map(({ line, error }) => [line, error?.code, error?.errors?.[0]?.path])).toEqual([
      [5, 'invalid_input', '/instances/0/1'],
      [6, 'invalid_input', '/instances/0'],
      [7, 'invalid_input', '/instances/0/0'],
    ]);
  }, 60_000);

  it('gives each caller the scores of its own temperature', async () => {
    await serve('warm', filesIn(join(FIXTURES, 'side-input/1')));
    const x = [0.5, -0.25, 1, 2];
    const temperatures = [0.25, 0.5, 1, 4, 0.25, 0.5];
    const body = (temperature: number) => ({
      model: 'warm',
      instances: [
        { x, temperature },
        { x: x.map((value) => -value), temperature },
      ],
    });
    const all = await Promise.all(temperatures.map((temperature) => predictionsOf(body(temperature))));
    for (const [i, predictions] of all.entries())
      for (const prediction of predictions) {
        expect(prediction.used).toBe((temperatures[i] as number) * 2);
        expect(prediction.classes).toEqual([10, 20, 30, 40, 50]);
      }
    // One job may hold unlike values.
    const mixed = temperatures.map((temperature) => ({ x, temperature }));
    const used = await predictionsOf({ model: 'warm', instances: mixed, outputs: ['used'] });
    expect(used).toEqual(temperatures.map((temperature) => temperature * 2));
  });

  it('whose predictions depend on the batch keeps jobs apart, and says so', async () => {
    const version = await serve('mean', filesIn(join(FIXTURES, 'batch-mean/1')));
    expect(version.warnings).toEqual([
      expect.stringMatching(/^Its predictions depend on who shares the batch/),
    ]);
    expect(version.metrics.isolatedSignatures).toEqual(['serving_default']);
    const rows = Array.from({ length: 20 }, (_, i) => [i, 2 * i, -i, 1]);
    const all = await Promise.all(rows.map((row) => predictionsOf({ model: 'mean', instances: [row] })));
    expect(all).toEqual(rows.map(() => [[0, 0, 0]]));
  });

  it('keeps jobs apart of that signature alone whose predictions depend on the batch', async () => {
    const both = join(folder, 'families');
    cpSync(join(OPERATIONS, 'computing/1'), both, { recursive: true });
    const { places, sound, ...others } = expectedOf('computing', OPERATIONS);
    editSavedModel(both, (graph) => {
      for (const name of Object.keys(others)) graph.getSignatureDefMap().del(name);
    });
    const version = await serve('families', filesIn(both), 'signatureName: places');
    expect(version.warnings).toEqual([
      expect.stringMatching(/^Signature sound: Its predictions depend on who shares the batch: mel differs/),
    ]);
    expect(version.metrics.isolatedSignatures).toEqual(['sound']);
    const batchSizes = async (signatureName: string, instances: unknown[], count: number) => {
      const body = { model: 'families', signatureName, instances };
      await stack.request('POST', '/v1/queues/families/pause');
      const jobs = new Array(count).fill(body);
      const { body: answer } = await stack.request('POST', '/v1/jobs/bulk', { jobs });
      await stack.request('POST', '/v1/queues/families/resume');
      const ids = answer.results.map(({ job }: { job: { id: string } }) => job.id);
      const ended = await Promise.all(
        ids.map((id: string) => stack.request('GET', `/v1/jobs/${id}?wait=30`)),
      );
      return ended.map(({ body: job }) => {
        expect(job.status, JSON.stringify(job.error)).toBe('succeeded');
        return job.timings.batchSize;
      });
    };
    const apart = await batchSizes('sound', [sound.inputs.wave[0]], 6);
    expect(apart).toEqual(new Array(6).fill(1));
    const together = await batchSizes('places', [places.inputs.x[0]], 6);
    expect(Math.max(...together)).toBeGreaterThan(1);
  }, 60_000);

  it('without a batch dimension computes each clip by itself', async () => {
    await serve('clips', filesIn(join(FIXTURES, 'waveform/1')), 'batching: {dimension: none}');
    const clips = [
      [1, 2, 3, 4],
      [5, 6],
      [7, 8, 9, 10],
    ];
    expect(await predictionsOf({ model: 'clips', instances: clips })).toEqual([
      [[3], [7]],
      [[11]],
      [[15], [19]],
    ]);
  });
});

describe('an ONNX file', () => {
  const onnx = (name: string) => ({
    [`${name}.onnx`]: new Uint8Array(readFileSync(join(ONNX_FIXTURES, `${name}.onnx`))),
  });

  it('waits for a worker with ONNX Runtime, and says so', async () => {
    const { status, body } = await upload('tokens', onnx('tokens'));
    expect({ status, format: body.format }).toMatchObject({ status: 202 });
    await expect
      .poll(() => versionOf('tokens'), BOUND)
      .toMatchObject({
        state: 'pending',
        error: 'no backend of this worker runs the format onnx',
        signature: { inputs: [{ name: 'input_ids', dtype: 'int64', shape: [null] }] },
      });
  });

  it.skipIf(onnxFault !== null)('is served without a model.yaml by a worker that has it', async () => {
    stack.addWorker({ SLUICE_BACKEND: 'onnx' });
    await expect.poll(async () => (await versionOf('tokens')).state, BOUND).toBe('ready');
    const { inputs, outputs } = JSON.parse(readFileSync(join(ONNX_FIXTURES, 'expected.json'), 'utf8')).tokens;
    const { body } = await submit({ model: 'tokens', instances: inputs.input_ids });
    expect(body).toMatchObject({ status: 'succeeded', timings: { backend: 'onnx' } });
    for (const [row, { pooled, best }] of body.predictions.entries()) {
      expect(best).toBe(outputs.best[row]);
      for (const [i, value] of pooled.entries()) expect(value).toBeCloseTo(outputs.pooled[row][i], 5);
    }
    const fraction = await submit({ model: 'tokens', instances: [[1.5]] });
    expect(fraction).toMatchObject({ status: 422, body: { code: 'invalid_input' } });
  });

  it.skipIf(onnxFault !== null)('whose computing fails fails its job alone', async () => {
    await serve('large', onnx('large'), 'signature: {outputs: [{name: y, dtype: int32}]}');
    const { body } = await submit({ model: 'large', instances: [[3000]] });
    expect(body).toMatchObject({ status: 'failed', error: { code: 'backend_error' } });
    expect(await predictionsOf({ model: 'large', instances: [[-2000]] })).toEqual([[-2_000_000_000]]);
  });

  it.skipIf(onnxFault !== null)('of an opset of tomorrow fails with the words of ONNX Runtime', async () => {
    const { body } = await upload('too-new', onnx('too-new'));
    await expect
      .poll(() => versionOf('too-new', body.version), BOUND)
      .toMatchObject({
        state: 'failed',
        error: expect.stringContaining('Opset 99 is under development'),
      });
  });

  it('with operations or files of others is refused with its place', async () => {
    const custom = await upload('custom', onnx('custom'));
    expect(custom).toMatchObject({
      status: 422,
      body: { errors: [{ path: '/custom.onnx', message: expect.stringContaining('org.example::Lookup') }] },
    });
    const external = await upload('external', onnx('external'));
    expect(external).toMatchObject({
      status: 422,
      body: { errors: [{ path: '/external.onnx', message: expect.stringContaining('weights.data') }] },
    });
  });

  it('is not quantised', async () => {
    const form = new FormData();
    for (const [path, content] of Object.entries(onnx('fixed')))
      form.append('file', new Blob([content]), path);
    const response = await fetch(`${stack.url}/v1/models/small/versions?quantize=float16`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.key}` },
      body: form,
    });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({
      errors: [{ path: '?quantize', message: 'is for tfjs models' }],
    });
  });
});

/** Models as people have them: saved by a browser, in many shards, ending in a detector's last step, in formats of others. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Answer, ROOT, type Stack, startStack } from '../support/stack.js';
import { partsOf, postVersion } from '../support/uploads.js';
import { zip } from '../support/zip.js';

const BOUND = { timeout: 20_000 };
const MNIST = join(ROOT, 'deploy/models/mnist/1');
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const model = JSON.parse(readFileSync(join(MNIST, 'model.json'), 'utf8'));
const weights = readFileSync(join(MNIST, 'group1-shard1of1.bin'));
const described = readFileSync(join(MNIST, 'model.yaml'), 'utf8')
  .replace(/^(name|version): .*\n/gm, '')
  .replace(/^files:\n( .*\n)+/m, '');

type Files = Record<string, string | Uint8Array>;

/** Returns mnist with its weights in files of other names, which model.json names by `paths`. */
function mnist(paths: string[], shards: Files): Files {
  const [group] = model.weightsManifest;
  return {
    'model.yaml': described,
    'golden.json': readFileSync(join(MNIST, 'golden.json')),
    'model.json': JSON.stringify({ ...model, weightsManifest: [{ ...group, paths }] }),
    ...shards,
  };
}

let stack: Stack;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_MAX_FILE_BYTES: '20000000' });
  await stack.ready();
});
afterAll(() => stack.close());

const upload = (name: string, files: Files, query = ''): Promise<Answer> =>
  postVersion(stack, name, partsOf(Object.entries(files)), query);

async function computes(name: string, body: object): Promise<Answer['body']> {
  const outcome = async () => {
    const { state, error } = (await stack.request('GET', `/v1/models/${name}`)).body.versions[0];
    return error ?? state;
  };
  await expect.poll(outcome, BOUND).toBe('ready');
  const answer = await stack.request('POST', '/v1/jobs?wait=20', { ...body, model: name });
  expect(answer.body, JSON.stringify(answer.body)).toMatchObject({ status: 'succeeded' });
  return answer.body;
}

const shard = (i: number) => `group1-shard${i + 1}of7.bin`;
const part = Math.ceil(weights.length / 7);
const seven = Array.from({ length: 7 }, (_, i) => shard(i));
const shards = seven.map((name, i) => [name, weights.subarray(i * part, (i + 1) * part)] as const);

it.each<[string, string[], Files, string]>([
  ['a-browser', ['./digits.weights.bin'], { 'digits.weights.bin': weights }, ''],
  ['a-browser-small', ['./digits.weights.bin'], { 'digits.weights.bin': weights }, '?quantize=float16'],
  ['a-folder', ['sub/weights.bin'], { 'sub/weights.bin': weights }, ''],
  ['a-second-download', ['my weights (1).bin'], { 'my weights (1).bin': weights }, ''],
  ['seven-shards', seven, Object.fromEntries(shards), ''],
])('a model of %s is served', async (name, paths, files, query) => {
  const sent = await upload(name, mnist(paths, files), query);
  expect(sent, JSON.stringify(sent.body)).toMatchObject({ status: 202 });
  const { predictions } = await computes(name, digit);
  expect(predictions[0].indexOf(Math.max(...predictions[0]))).toBe(7);
});

it('a graph that ends in NonMaxSuppression is served', async () => {
  const float = { type: 'DT_FLOAT' };
  const scalars = { most: 2, overlap: 0.5, least: 0.1, sigma: 0, axis: 0 };
  const isWhole = (name: string) => name === 'most' || name === 'axis';
  const constants = [
    ...Object.keys(scalars).map((name) => ({ name, shape: [], dtype: isWhole(name) ? 'int32' : 'float32' })),
    { name: 'scores', shape: [3], dtype: 'float32' },
  ];
  const bytes = Buffer.concat([
    ...Object.entries(scalars).map(([name, value]) =>
      Buffer.from((isWhole(name) ? Int32Array : Float32Array).of(value).buffer),
    ),
    Buffer.from(Float32Array.of(0.9, 0.8, 0.7).buffer),
  ]);
  const node = (name: string, op: string, input: string[], attr = {}) => ({ name, op, input, attr });
  const size = (...sizes: number[]) => ({ dim: sizes.map((each) => ({ size: String(each) })) });
  const topology = {
    versions: { producer: 1 },
    node: [
      ...constants.map(({ name, dtype, shape }) =>
        node(name, 'Const', [], {
          dtype: { type: dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT' },
          value: { tensor: { tensorShape: size(...shape) } },
        }),
      ),
      node('boxes_in', 'Placeholder', [], { dtype: float, shape: { shape: size(1, 3, 4) } }),
      node('boxes', 'Squeeze', ['boxes_in'], { T: float, squeeze_dims: { list: { i: ['0'] } } }),
      node('best', 'NonMaxSuppressionV5', ['boxes', 'scores', 'most', 'overlap', 'least', 'sigma']),
      node('kept', 'GatherV2', ['boxes', 'best', 'axis']),
      node('detections', 'ExpandDims', ['kept', 'axis']),
    ],
  };
  const yaml = `
signature:
  inputs: [{ name: boxes_in, dtype: float32, shape: [3, 4] }]
  outputs: [{ name: detections, dtype: float32, shape: [null, 4] }]
batching: { maxBatchSize: 1, maxDelayMs: 0 }
`;
  const sent = await upload('detector', {
    'model.yaml': yaml,
    'model.json': JSON.stringify({
      format: 'graph-model',
      modelTopology: topology,
      weightsManifest: [{ paths: ['w.bin'], weights: constants }],
    }),
    'w.bin': bytes,
  });
  expect(sent, JSON.stringify(sent.body)).toMatchObject({ status: 202 });
  const boxes = [
    [0, 0, 1, 1],
    [0, 0.1, 1, 1.1],
    [2, 2, 3, 3],
  ];
  const { predictions } = await computes('detector', { instances: [boxes, boxes] });
  expect(predictions).toEqual([
    [boxes[0], boxes[2]],
    [boxes[0], boxes[2]],
  ]);
});

it.each<[string, Files, RegExp]>([
  [
    'of Keras 3 for tfjs',
    {
      ...mnist(['w.bin'], { 'w.bin': weights }),
      'model.json': JSON.stringify({ ...model, weightsManifest: [] }).replaceAll(
        'batch_input_shape',
        'batch_shape',
      ),
    },
    /written by Keras 3.*model.export/,
  ],
  [
    'of Keras 3',
    { 'digits.keras': zip([{ path: 'model.weights.h5', content: 'x' }]) },
    /digits.keras is a model of Keras 3/,
  ],
  [
    'in HDF5',
    { 'digits.h5': Buffer.from('\x89HDF\r\n\x1a\n', 'latin1') },
    /digits.h5 is a model of Keras in HDF5/,
  ],
  ['in ONNX of another name', { 'digits.bin': '\x08\x08\x12\x07pytorch' }, /digits.bin is a model in ONNX/],
  ['that is no ONNX', { 'digits.onnx': 'x' }, /the file is no ONNX model/],
  [
    'in the text form of a SavedModel',
    { 'saved_model.pbtxt': 'x' },
    /text form of a SavedModel: save it as binary/,
  ],
])('a model %s is refused with the way on', async (_, files, message) => {
  const { status, body } = await upload('refused', files);
  expect({ status, code: body.code }).toEqual({ status: 422, code: 'invalid_input' });
  expect(JSON.stringify(body.errors)).toMatch(message);
  expect((await stack.request('GET', '/v1/models/refused')).status).toBe(404);
});

it('all faults of an upload are told at once', async () => {
  const files = {
    ...mnist(['gone.bin'], {}),
    'model.yaml': 'colour: red\n',
    'a:b': 'x',
    '../c': 'x',
    '.hidden': 'x',
  };
  const { body } = await upload('refused', files);
  expect(body.errors.map(({ path }: { path: string }) => path)).toEqual([
    '/a:b',
    '/..~1c',
    '/model.yaml/signature',
    '/model.yaml/colour',
    '/gone.bin',
  ]);
});

it('an archive of a huge stray is refused before it is unpacked', async () => {
  const form = new FormData();
  const archive = zip([
    { path: 'model.json', content: '{}' },
    { path: 'huge.bin', content: Buffer.alloc(1000), stated: { sizeBytes: 4_000_000_000 } },
  ]);
  form.append('archive', new Blob([Uint8Array.from(archive)]), 'model.zip');
  expect(await postVersion(stack, 'refused', form)).toMatchObject({
    status: 413,
    body: { code: 'body_too_large' },
  });
});

/**
 * Signatures as people's models have them, as SavedModels: read without TensorFlow, and computed to 1e-5 of what TensorFlow
 * computed when test/fixtures/signatures.py made them.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { type Manifest, withSignature } from '../../shared/contract/models/manifest.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { toNested } from '../../shared/contract/tensors/tensor.js';
import { openSharp, readImageHeader } from '../../shared/images/image.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { DATA_TYPES } from '../../shared/model-packages/saved-model/fields.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import type { LoadReport, Selection } from '../../worker/inference/protocol/messages.js';
import { type Edit, editSavedModel, rename } from '../support/saved-model-edit.js';
import { ROOT } from '../support/stack.js';

interface Expected {
  inputs: Record<string, unknown>;
  outputs: Record<string, unknown>;
}

const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
if (nativeFault)
  console.warn(
    `\n!!! SKIPPED: no signature of a SavedModel is run: ${nativeFault}. To have it: npm run backend:install -- cpu\n`,
  );
const root = mkdtempSync(join(tmpdir(), 'sluice-signatures-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Returns a copy of a fixture, with changes. */
function folderOf(name: string, yaml = '', edit?: Edit): string {
  const source = name === 'mnist-cnn' ? 'test/fixtures/models' : 'test/fixtures/signatures';
  const folder = mkdtempSync(join(root, `${name}-`));
  cpSync(join(ROOT, source, name, '1'), folder, { recursive: true });
  rmSync(join(folder, 'model.yaml'), { force: true });
  if (yaml) writeFileSync(join(folder, 'model.yaml'), yaml);
  if (edit) editSavedModel(folder, edit);
  return folder;
}

const manifestOf = (folder: string) => readManifest(folder, { name: 'tried', version: 1 });
const read = (name: string, yaml = '', edit?: Edit) => manifestOf(folderOf(name, yaml, edit));

function expectedOf(name: string, signature = 'serving_default'): Expected {
  const path = join(ROOT, 'test/fixtures/signatures', name, '1/expected.json');
  return JSON.parse(readFileSync(path, 'utf8'))[signature];
}

const served = (graph: Parameters<Edit>[0]) => graph.getSignatureDefMap().get('serving_default');
const RANKS = 'signature: {inputs: [{name: temperature, shape: [], batch: shared}, {name: x, shape: [4]}]}';
const withoutRanks: Edit = (graph) => {
  for (const name of ['temperature', 'x']) served(graph).getInputsMap().get(name).clearTensorShape();
};
const withOutput = (name: string) => (graph: Parameters<Edit>[0]) =>
  rename(served(graph).getOutputsMap(), 'output_0', name);

describe('the signature of a SavedModel', () => {
  it.each(['gender_pred/Sigmoid', 'Identity:0', 'tf.nn.softmax', 'größe', 'x'.repeat(80), 'constructor'])(
    'has the name %s that the model gives',
    async (name) => {
      const { signature } = await read('mnist-cnn', '', withOutput(name));
      expect(signature.outputs).toEqual([{ name, dtype: 'float32', shape: [10] }]);
    },
  );

  it('has the names of a model.yaml, which may tell little', async () => {
    const yaml = 'signature: {outputs: [{name: gender, from: gender_pred/Sigmoid, description: odds}]}';
    const { signature, batching } = await read('mnist-cnn', yaml, withOutput('gender_pred/Sigmoid'));
    expect(signature.inputs).toEqual([{ name: 'image', dtype: 'float32', shape: [28, 28, 1] }]);
    expect(signature.outputs).toEqual([
      { name: 'gender', from: 'gender_pred/Sigmoid', dtype: 'float32', shape: [10], description: 'odds' },
    ]);
    expect(batching).toEqual({ maxBatchSize: 32, maxDelayMs: 5 });
  });

  it.each([
    [
      'an unknown output',
      'signature: {outputs: [{name: digit}]}',
      '/signature/outputs/0/name is none of the',
    ],
    [
      'an unknown from',
      'signature: {outputs: [{name: a, from: b}]}',
      '/signature/outputs/0/from is none of the',
    ],
    [
      'another shape',
      'signature: {outputs: [{name: output_0, shape: [9]}]}',
      'outputs/0/shape is [9]; the model',
    ],
    [
      'a name twice',
      'signature: {outputs: [{name: output_0}, {name: output_0}]}',
      'the name of another tensor',
    ],
    ['no list', 'signature: {outputs: 5}', '/signature/outputs must be array; got a number'],
    [
      'no batch of such a size',
      'batching: {dimension: none, maxBatchSize: 4}',
      '/batching/maxBatchSize must be 1',
    ],
    ['signatures of its own', 'signatures: {}', '/signatures is read from the model'],
  ])('is not told %s', async (_, yaml, message) => {
    await expect(read('mnist-cnn', yaml)).rejects.toThrow(message);
  });

  it('leaves out what no caller can be given, when model.yaml does', async () => {
    const unusable: Edit = (graph) =>
      served(graph).getOutputsMap().get('classes').setDtype(DATA_TYPES.DT_COMPLEX64);
    await expect(read('side-input', '', unusable)).rejects.toThrow(
      'classes is complex64, for which there is no form here; `signature.outputs` in model.yaml may leave it out',
    );
    const { signature } = await read('side-input', 'signature: {outputs: [{name: scores}]}', unusable);
    expect(signature.outputs.map(({ name }) => name)).toEqual(['scores']);
  });

  it('tells a fixed batch, side inputs and constants', async () => {
    const [one, four, side] = await Promise.all([read('fixed-1'), read('fixed-4'), read('side-input')]);
    expect(one).toMatchObject({ signature: { batchSize: 1 }, batching: { maxBatchSize: 1 } });
    expect(four).toMatchObject({
      signature: { batchSize: 4 },
      batching: { maxBatchSize: 4, preferredSizes: [4] },
    });
    expect(four.signature.outputs.map(({ name, shape }) => [name, shape])).toEqual([
      ['sum', []],
      ['y', [3]],
    ]);
    expect(side.signature.inputs).toEqual([
      { name: 'temperature', dtype: 'float32', shape: [], batch: 'shared' },
      { name: 'x', dtype: 'float32', shape: [4] },
    ]);
    expect(side.signature.outputs).toEqual([
      { name: 'classes', dtype: 'int32', shape: [5], batch: 'shared' },
      { name: 'scores', dtype: 'float32', shape: [3] },
      { name: 'used', dtype: 'float32', shape: [], batch: 'shared' },
    ]);
    await expect(read('fixed-4', 'batching: {maxBatchSize: 8}')).rejects.toThrow(
      '/batching/maxBatchSize must be 4: the model takes batches of exactly this size',
    );
  });

  it('has the shapes of a model.yaml where the model tells no rank', async () => {
    await expect(read('side-input', '', withoutRanks)).rejects.toThrow(
      'temperature has no known rank: state its `shape` in model.yaml; /signature/inputs x has no known rank',
    );
    const { signature } = await read('side-input', RANKS, withoutRanks);
    expect(signature).toEqual((await read('side-input')).signature);
  });

  it('is the only one, one that is named, or none', async () => {
    const renamed: Edit = (graph) => {
      graph.getSignatureDefMap().del('serve');
      rename(graph.getSignatureDefMap(), 'serving_default', 'image_quality');
    };
    expect((await read('mnist-cnn', '', renamed)).signatureName).toBe('image_quality');
    await expect(read('codec')).rejects.toThrow(
      /the signatures "(decode", "encode|encode", "decode)" and no serving_default; choose one by `signatureName`/,
    );
    await expect(read('codec', 'signatureName: embed')).rejects.toThrow('no signature "embed"; it has "');
    const codec = await read('codec', 'signatureName: encode');
    expect(codec.signature.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: [4] }]);
    expect(withSignature(codec, 'decode')?.signature.inputs[0]?.name).toBe('code');
    expect(withSignature(codec, 'embed')).toBeNull();
    const none: Edit = (graph) => {
      for (const name of ['serve', 'serving_default']) graph.getSignatureDefMap().del(name);
    };
    await expect(read('mnist-cnn', '', none)).rejects.toThrow(
      /has no signature; export one: tf\.saved_model/,
    );
  });

  it('has all told that does not fit, in one answer', async () => {
    const folder = folderOf('side-input', 'signature: {outputs: [{name: scores, shape: [4]}]}', (graph) => {
      graph.addAssetFileDef().setFilename('vocab.txt');
      served(graph).getInputsMap().get('x').setDtype(DATA_TYPES.DT_COMPLEX64);
      for (const each of graph.getGraphDef().getLibrary().getFunctionList())
        for (const node of each.getNodeDefList()) if (node.getOp() === 'MatMul') node.setOp('XlaCallModule');
    });
    const refused = await manifestOf(folder).catch((error: Error) => error.message);
    for (const part of [
      'x is complex64',
      'outputs/0/shape is [4]',
      'assets/vocab.txt',
      'exported from JAX: export it from Keras under KERAS_BACKEND=tensorflow',
    ])
      expect(refused).toContain(part);
  });
});

describe.skipIf(nativeFault !== null)('a SavedModel on native', () => {
  let versions: LoadedVersions;
  beforeAll(async () => {
    versions = createLoadedVersions((await chooseBackend('native', SLUICE_CACHE_DIR)).backend, systemClock);
  });

  async function load(name: string, yaml = '', edit?: Edit): Promise<[Manifest, LoadReport]> {
    const folder = folderOf(name, yaml, edit);
    const manifest = await manifestOf(folder);
    return [manifest, await versions.load(folder, manifest)];
  }

  /** Computes instances as a caller sends them in one batch. */
  async function predict(manifest: Manifest, instances: unknown[], select: Selection = {}) {
    const own = withSignature(manifest, select.signatureName) as Manifest;
    const encoded = await createInputEncoder(own, readImageHeader).encode(instances);
    const decoded = await versions.prepare('tried', 1, encoded, select);
    const { results } = await versions.compute('tried', 1, decoded, { select });
    return (await results).map((result) => {
      if (!result.ok) throw new Error(result.message);
      return Object.fromEntries(
        Object.entries(result.outputs).map(([name, value]) => [name, toNested(value)]),
      );
    });
  }

  it('of a fixed batch is filled up to exactly that', async () => {
    for (const name of ['fixed-1', 'fixed-4']) {
      const [manifest] = await load(name);
      const { inputs, outputs } = expectedOf(name);
      const rows = inputs.x as number[][];
      const predictions = await predict(manifest, rows);
      expectClose(
        predictions.map(({ y }) => y),
        outputs.y,
      );
      expectClose(
        (await predict(manifest, rows.slice(-1))).map(({ sum }) => sum),
        (outputs.sum as number[]).slice(-1),
      );
    }
  });

  it.each<[string, string, Edit | undefined]>([
    ['tells', '', undefined],
    ['leaves to model.yaml', RANKS, withoutRanks],
  ])('takes side inputs whose ranks it %s, and gives constants with each instance', async (_, yaml, edit) => {
    const [manifest] = await load('side-input', yaml, edit);
    const { inputs, outputs } = expectedOf('side-input');
    const instances = (inputs.x as number[][]).map((x) => ({ x, temperature: inputs.temperature }));
    const predictions = await predict(manifest, instances);
    expectClose(
      predictions.map(({ scores }) => scores),
      outputs.scores,
    );
    for (const { classes, used } of predictions) {
      expect(classes).toEqual([10, 20, 30, 40, 50]);
      expect(used).toBe(1);
    }
    expect(await predict(manifest, instances, { outputs: ['classes'] })).toEqual(
      new Array(3).fill({ classes: [10, 20, 30, 40, 50] }),
    );
  });

  it('without a batch dimension is run by itself, and told so where it is not', async () => {
    await expect(load('waveform')).rejects.toThrow(
      /a batch of 1 failed: .*reshape.*`batching: \{dimension: none\}`/s,
    );
    const [manifest, report] = await load('waveform', 'batching: {dimension: none}');
    expect(manifest.signature.inputs).toEqual([{ name: 'waveform', dtype: 'float32', shape: [null] }]);
    expect(report.warnings).toEqual([]);
    const { inputs, outputs } = expectedOf('waveform');
    const [prediction] = await predict(manifest, [inputs.waveform]);
    expectClose(prediction?.frames, outputs.frames);
  });

  it('computes the signature that is asked for', async () => {
    const [manifest] = await load('codec', 'signatureName: encode');
    for (const [name, to] of [
      ['encode', 'code'],
      ['decode', 'x'],
    ] as const) {
      const { inputs, outputs } = expectedOf('codec', name);
      const [rows] = Object.values(inputs) as number[][][];
      const predictions = await predict(manifest, rows ?? [], { signatureName: name });
      expectClose(
        predictions.map((each) => each[to]),
        outputs[to],
      );
    }
  });

  it('whose predictions depend on the batch is found out', async () => {
    const [manifest, report] = await load('batch-mean');
    expect(report).toMatchObject({ isolatedSignatures: ['serving_default'] });
    expect(report.warnings).toEqual([expect.stringMatching(/depend on who shares the batch: y differs by/)]);
    expect(await predict(manifest, [[1, 2, 3, 4]])).toEqual([{ y: [0, 0, 0] }]);
    const [, insisted] = await load('batch-mean', 'batching: {crossJob: allow}');
    expect(insisted.isolatedSignatures).toEqual([]);
    expect(insisted.warnings).toHaveLength(1);
    for (const name of ['side-input', 'fixed-4', 'mnist-cnn'])
      expect((await load(name))[1], name).toMatchObject({ isolatedSignatures: [], warnings: [] });
  });

  it('takes pictures of any size as whole pixels', async () => {
    const yaml =
      'signature: {inputs: [{name: pixels, dtype: image, shape: [null, null, 3], maxPixels: 90000}]}';
    const [manifest, report] = await load('pixels', yaml);
    // It was tried at a size, though none is told.
    expect(report.warnings).toEqual([]);
    const { inputs, outputs } = expectedOf('pixels');
    const pixels = Buffer.from((inputs.pixels as number[]).flat(4) as number[]);
    const png = (await openSharp(pixels, { raw: { width: 48, height: 32, channels: 3 } })).png();
    const b64 = (await png.toBuffer()).toString('base64');
    const [prediction] = await predict(manifest, [{ image: { b64 } }]);
    expectClose(prediction?.mean, (outputs.mean as number[][])[0]);
    // Too small for the pool: the instance fails or has no finite mean, and the version stays.
    await expect(predict(manifest, [{ image: { b64: await tiny() } }])).rejects.toThrow();
  });
});

async function tiny(): Promise<string> {
  const image = await openSharp(Buffer.alloc(8 * 8 * 3), { raw: { width: 8, height: 8, channels: 3 } });
  return (await image.png().toBuffer()).toString('base64');
}

function expectClose(computed: unknown, expected: unknown): void {
  const [a, b] = [computed, expected].map((value) => [value].flat(9) as number[]) as [number[], number[]];
  expect(a).toHaveLength(b.length);
  for (const [i, value] of b.entries()) expect(Math.abs((a[i] as number) - value)).toBeLessThan(1e-5);
}

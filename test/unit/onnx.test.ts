/** ONNX files as an API reads them, which has no ONNX Runtime: their signature, and what is refused. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { outlineOf } from '../../shared/model-packages/onnx/outline.js';
import { parseMessage } from '../../shared/model-packages/protobuf.js';
import { ONNX_RUNTIME_VERSION } from '../../shared/native/onnx-runtime.js';
import { ONNX_FIXTURES } from '../support/onnx-models.js';
import { ROOT } from '../support/stack.js';

const parent = mkdtempSync(join(tmpdir(), 'sluice-onnx-'));
afterAll(() => rmSync(parent, { recursive: true, force: true }));

const fixture = (name: string) => readFileSync(join(ONNX_FIXTURES, name));

function read(files: Record<string, string | Uint8Array>): Promise<Manifest> {
  const folder = mkdtempSync(join(parent, 'model-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return readManifest(folder, { name: 'm', version: 1 });
}

const readFixture = (name: string, yaml = '') =>
  read({ [`${name}.onnx`]: fixture(`${name}.onnx`), ...(yaml && { 'model.yaml': yaml }) });

describe('an ONNX file without a model.yaml', () => {
  it('tells names, types and sizes, whatever it is called', async () => {
    const { format, signature, batching } = await read({ 'my net.onnx': fixture('tokens.onnx') });
    expect(format).toBe('onnx');
    expect(signature).toEqual({
      inputs: [{ name: 'input_ids', dtype: 'int64', shape: [null] }],
      outputs: [
        { name: 'pooled', dtype: 'float32', shape: [4] },
        { name: 'best', dtype: 'int64', shape: [] },
      ],
    });
    expect(batching).toMatchObject({ maxBatchSize: 32 });
  });

  it('tells a fixed batch, under the names that exporters give', async () => {
    const { signature, batching } = await readFixture('fixed');
    expect(signature).toEqual({
      inputs: [{ name: 'input.1', dtype: 'float32', shape: [4] }],
      outputs: [{ name: '12', dtype: 'float32', shape: [3] }],
      batchSize: 1,
    });
    expect(batching.maxBatchSize).toBe(1);
  });

  it('tells rows of any number where its export kept one', async () => {
    const { signature, batching } = await readFixture('one-row');
    expect(signature.outputs).toEqual([{ name: 'y', dtype: 'float32', shape: [3] }]);
    expect(batching.maxBatchSize).toBe(32);
  });

  it('has no weight among its inputs, though files of old list them there', async () => {
    const { signature } = await readFixture('old');
    expect(signature.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: [4] }]);
  });

  it('tells a side input and an output of a size of its own', async () => {
    const { signature } = await readFixture('side-input');
    expect(signature.inputs[1]).toEqual({
      name: 'temperature',
      dtype: 'float32',
      shape: [],
      batch: 'shared',
    });
    expect(signature.outputs[1]).toEqual({ name: 'labels', dtype: 'int32', shape: [5], batch: 'shared' });
  });

  it('with a state whose batch is elsewhere has no batch, as its model.yaml must say', async () => {
    await expect(readFixture('recurrent')).rejects.toThrow(
      '/signature/inputs begin with different sizes, so these are no batch: x [?, 2], state [2, ?, 2]; state',
    );
    const { signature, batching } = await readFixture('recurrent', 'batching: {dimension: none}');
    expect(signature.inputs.map(({ shape }) => shape)).toEqual([
      [null, 2],
      [2, null, 2],
    ]);
    expect(batching.maxBatchSize).toBe(1);
  });

  it('is model.onnx where there are several', async () => {
    const { signature } = await read({
      'model.onnx': fixture('fixed.onnx'),
      'other.onnx': fixture('tokens.onnx'),
    });
    expect(signature.batchSize).toBe(1);
    await expect(read({ 'a.onnx': fixture('fixed.onnx'), 'b.onnx': fixture('tokens.onnx') })).rejects.toThrow(
      /^a\.onnx is a model in ONNX: one file at the top of the folder is model\.onnx/,
    );
  });
});

describe('a picture', () => {
  const yaml = (more: string) => `signature: {inputs: [{name: image, dtype: image${more}}]}`;

  it('of a model with the channels first has height, width and channels for its callers', async () => {
    const { signature } = await readFixture('picture', yaml(', preprocess: {mean: [1, 2, 3], resize: fill}'));
    expect(signature.inputs[0]).toMatchObject({ dtype: 'image', shape: [4, 6, 3], layout: 'NCHW' });
  });

  it('may say its layout, which must fit', async () => {
    const said = await readFixture('picture', yaml(', layout: NCHW, shape: [4, 6, 3]'));
    expect(said.signature.inputs[0]).toMatchObject({ shape: [4, 6, 3], layout: 'NCHW' });
    await expect(readFixture('picture', yaml(', layout: NHWC'))).rejects.toThrow(
      '/signature/inputs/0/shape needs height, width, and 1 or 3 channels',
    );
    await expect(
      readFixture('fixed', 'signature: {inputs: [{name: input.1, layout: NCHW}]}'),
    ).rejects.toThrow('/signature/inputs/0/layout is for pictures');
  });
});

describe('an ONNX file is refused', () => {
  it.each([
    ['custom', 'uses operations that are not part of ONNX Runtime: org.example::Lookup'],
    ['random', 'draws random numbers by RandomUniformLike, so equal inputs get unlike predictions'],
    ['complex', 'wave is complex64, for which there is no form here'],
    [
      'sequence',
      's is a sequence, for which there is no form here; `signature.outputs` in model.yaml may leave',
    ],
    ['shapeless', 'y has no known rank: state its `shape` in model.yaml'],
  ])('%s', async (name, message) => {
    await expect(readFixture(name)).rejects.toThrow(message);
  });

  it.each([
    ['nothing', ''],
    ['text', 'not a model at all'],
    ['a file that is cut off', fixture('tokens.onnx').subarray(0, 300)],
  ])('that is %s', async (_, content) => {
    await expect(read({ 'model.onnx': content })).rejects.toThrow(/^the file is no ONNX model: /);
  });

  it('unless model.yaml leaves out what has no form, or tells what the file does not', async () => {
    const left = await readFixture('sequence', 'signature: {outputs: [{name: y}]}');
    expect(left.signature.outputs).toEqual([{ name: 'y', dtype: 'float32', shape: [2] }]);
    const told = await readFixture('shapeless', 'signature: {outputs: [{name: y, shape: [2]}]}');
    expect(told.signature.outputs).toEqual([{ name: 'y', dtype: 'float32', shape: [2] }]);
  });

  it('with a signature of another name or type', async () => {
    await expect(readFixture('tokens', 'signature: {inputs: [{name: ids}]}')).rejects.toThrow(
      "/signature/inputs/0/name is none of the model's inputs: input_ids int64 [?, ?]",
    );
    await expect(
      readFixture('tokens', 'signature: {inputs: [{name: input_ids, dtype: float32}]}'),
    ).rejects.toThrow('/signature/inputs/0/dtype is float32; the model has int64');
    await expect(readFixture('fixed', 'signatureName: serve')).rejects.toThrow('is for SavedModels');
  });
});

describe('weights beside an ONNX file', () => {
  const pointing = (to: string) => {
    const bytes = fixture('external.onnx');
    bytes.write(to, bytes.indexOf('weights.data'), 'latin1');
    return bytes;
  };

  it('are files of the version', async () => {
    const { files } = await read({
      'external.onnx': fixture('external.onnx'),
      'weights.data': fixture('weights.data'),
    });
    expect(Object.keys(files)).toEqual(['external.onnx', 'weights.data']);
  });

  it('are asked for by name where they are missing', async () => {
    await expect(readFixture('external')).rejects.toThrow(
      'has weights in "weights.data", which is not there: send that file beside it',
    );
  });

  it('may not be named once well and once badly', async () => {
    await expect(
      read({ 'model.onnx': fixture('two-places.onnx'), 'weights.data': fixture('weights.data') }),
    ).rejects.toThrow('has weights in "../weights.data", which is no path inside the folder of the version');
  });

  // Each as long as the name it replaces.
  it.each(['../ghts.data', '/etc/hostnam', 'a/../../data', 'C:\\ghts.data', '*/_ORT_MEM_A'])(
    'may not lie at %s',
    async (path) => {
      await expect(read({ 'model.onnx': pointing(path), 'weights.data': 'x' })).rejects.toThrow(
        `has weights in ${JSON.stringify(path)}, which is no path inside the folder of the version`,
      );
    },
  );
});

describe('the outline of an ONNX file', () => {
  it('is the file without the values of its tensors', () => {
    const path = join(ONNX_FIXTURES, 'tokens.onnx');
    const outline = outlineOf(path);
    expect(outline.length).toBeLessThan(fixture('tokens.onnx').length - 160);
    expect([...parseMessage(outline).keys()]).toEqual([...parseMessage(fixture('tokens.onnx')).keys()]);
  });

  it('takes little memory, however large the values', () => {
    const path = join(parent, 'large.onnx');
    const values = Buffer.alloc(64 * 1024 * 1024);
    // ModelProto.graph { initializer { raw_data } }
    const sized = (tag: number, content: Buffer) => {
      const size: number[] = [];
      for (let left = content.length; ; left = Math.floor(left / 0x80)) {
        size.push(left >= 0x80 ? (left % 0x80) + 0x80 : left);
        if (left < 0x80) break;
      }
      return Buffer.concat([Buffer.from([tag, ...size]), content]);
    };
    writeFileSync(path, sized(0x3a, sized(0x2a, sized(0x4a, values))));
    const before = process.memoryUsage().rss;
    expect([...outlineOf(path)]).toEqual([0x3a, 2, 0x2a, 0]);
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024);
  });
});

it('the types of ONNX Runtime are those of the version that is installed', () => {
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  expect(devDependencies['onnxruntime-common']).toBe(ONNX_RUNTIME_VERSION);
});

/** Models small enough to compute by hand, written to a folder as the loader finds them. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Float16Array } from '@petamoriken/float16';
import type { Golden, Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';

export interface TinyModel {
  folder: string;
  manifest: Manifest;
}

export interface Weight {
  name: string;
  shape: number[];
  dtype: 'float32' | 'int32';
  values: number[];
  /** The type in which floats are stored: halves, or steps of `STEP` from the least value. */
  stored?: 'float16' | 'uint8' | 'uint16';
}

const STEP = 0.5;

interface Description {
  name: string;
  format: Manifest['format'];
  inputs: TensorSpec[];
  outputs: TensorSpec[];
  topology: object;
  /** The signature that a converter writes into model.json. */
  signature?: object;
  /** The weights in the order of the topology. */
  weights?: Weight[];
  /** The path that model.json gives for its weights. */
  shard?: string;
  golden?: Golden;
  maxBatchSize?: number;
}

export function writeModel(
  parent: string,
  {
    name,
    format,
    inputs,
    outputs,
    topology,
    signature,
    weights = [],
    shard = 'weights.bin',
    golden,
    maxBatchSize = 8,
  }: Description,
): TinyModel {
  const folder = join(parent, name);
  mkdirSync(folder, { recursive: true });
  const bytes = Buffer.concat(weights.map(bytesOf));
  const model = {
    format: format === 'layers' ? 'layers-model' : 'graph-model',
    modelTopology: topology,
    ...(signature && { signature }),
    weightsManifest: weights.length === 0 ? [] : [{ paths: [shard], weights: weights.map(specOf) }],
  };
  const contents: Record<string, string | Buffer> = {
    'model.json': JSON.stringify(model),
    'weights.bin': bytes,
    ...(golden && { 'golden.json': JSON.stringify(golden) }),
  };
  const files: Record<string, string> = {};
  for (const [path, content] of Object.entries(contents)) {
    writeFileSync(join(folder, path), content);
    files[path] = createHash('sha256').update(content).digest('hex');
  }
  const manifest = {
    name,
    version: 1,
    format,
    signature: { inputs, outputs },
    batching: { maxBatchSize, maxDelayMs: 5 },
    files: files as Manifest['files'],
    ...(golden && { golden: 'golden.json' }),
  };
  return { folder, manifest };
}

function specOf({ values, stored, ...spec }: Weight): object {
  if (!stored) return spec;
  const steps = stored === 'float16' ? {} : { min: Math.min(...values), scale: STEP };
  return { ...spec, quantization: { dtype: stored, original_dtype: spec.dtype, ...steps } };
}

function bytesOf({ dtype, values, stored }: Weight): Uint8Array {
  const steps = values.map((value) => (value - Math.min(...values)) / STEP);
  if (stored === 'float16') return new Uint8Array(Float16Array.from(values).buffer);
  if (stored === 'uint16') return new Uint8Array(Uint16Array.from(steps).buffer);
  if (stored === 'uint8') return Uint8Array.from(steps);
  return toBytes(dtype === 'float32' ? Float32Array.from(values) : Int32Array.from(values));
}

const dense = {
  class_name: 'Sequential',
  config: {
    name: 'tiny',
    layers: [
      {
        class_name: 'Dense',
        config: {
          name: 'dense',
          units: 2,
          activation: 'linear',
          use_bias: true,
          dtype: 'float32',
          batch_input_shape: [null, 3],
        },
      },
    ],
  },
};

/** y = x · [[1, 2], [3, 4], [5, 6]] + [0.5, -0.5], as a layers model whose names are not the signature's. */
export function writeDense(parent: string, changes: Partial<Description> = {}): TinyModel {
  return writeModel(parent, {
    name: 'dense',
    format: 'layers',
    inputs: [{ name: 'x', dtype: 'float32', shape: [3] }],
    outputs: [{ name: 'y', dtype: 'float32', shape: [2] }],
    topology: { keras_version: '2.10.0', backend: 'tensorflow', model_config: dense },
    weights: [
      { name: 'dense/kernel', shape: [3, 2], dtype: 'float32', values: [1, 2, 3, 4, 5, 6] },
      { name: 'dense/bias', shape: [2], dtype: 'float32', values: [0.5, -0.5] },
    ],
    ...changes,
  });
}

/** Returns what the model of `writeDense` computes for one row. */
export function denseByHand([a = 0, b = 0, c = 0]: readonly number[]): [number, number] {
  return [a + 3 * b + 5 * c + 0.5, 2 * a + 4 * b + 6 * c - 0.5];
}

/** An image twice as large, each pixel four times: a layers model without weights. */
export function writeDouble(parent: string): TinyModel {
  const image = { dtype: 'image', shape: [null, null, 3], scale: 1 / 255 } as const;
  const config = {
    name: 'double',
    layers: [
      {
        class_name: 'UpSampling2D',
        config: {
          name: 'up',
          size: [2, 2],
          data_format: 'channels_last',
          dtype: 'float32',
          batch_input_shape: [null, null, null, 3],
        },
      },
    ],
  };
  return writeModel(parent, {
    name: 'double',
    format: 'layers',
    inputs: [{ ...image, shape: [...image.shape], name: 'small', maxPixels: 10_000 }],
    outputs: [{ ...image, shape: [...image.shape], name: 'large' }],
    topology: { model_config: { class_name: 'Sequential', config } },
  });
}

const placeholder = (name: string, type: string, size: number) => ({
  name,
  op: 'Placeholder',
  attr: { dtype: { type }, shape: { shape: { dim: [{ size: '-1' }, { size: String(size) }] } } },
});

/** y = a - b over two int32 inputs of 2 elements, as a graph; the signature names them the other way round. */
export function writeDifference(parent: string): TinyModel {
  return writeModel(parent, {
    name: 'difference',
    format: 'graph',
    inputs: [
      { name: 'b', dtype: 'int32', shape: [2] },
      { name: 'a', dtype: 'uint8', shape: [2] },
    ],
    outputs: [{ name: 'y', dtype: 'int32', shape: [2] }],
    topology: {
      node: [
        placeholder('a', 'DT_INT32', 2),
        placeholder('b', 'DT_INT32', 2),
        { name: 'y', op: 'Sub', input: ['a', 'b'], attr: { T: { type: 'DT_INT32' } } },
      ],
      versions: { producer: 1 },
    },
  });
}

/** y = x · w as a graph with weights. */
export function writeProduct(parent: string, changes: Partial<Description> = {}): TinyModel {
  return writeModel(parent, {
    name: 'product',
    format: 'graph',
    inputs: [{ name: 'x', dtype: 'float32', shape: [3] }],
    outputs: [{ name: 'product', dtype: 'float32', shape: [2] }],
    topology: {
      node: [
        placeholder('x', 'DT_FLOAT', 3),
        {
          name: 'w',
          op: 'Const',
          attr: {
            dtype: { type: 'DT_FLOAT' },
            value: {
              tensor: { dtype: 'DT_FLOAT', tensorShape: { dim: [{ size: '3' }, { size: '2' }] } },
            },
          },
        },
        {
          name: 'product',
          op: 'MatMul',
          input: ['x', 'w'],
          attr: { T: { type: 'DT_FLOAT' }, transpose_a: { b: false }, transpose_b: { b: false } },
        },
      ],
      versions: { producer: 1 },
    },
    weights: [{ name: 'w', shape: [3, 2], dtype: 'float32', values: [1, 2, 3, 4, 5, 6] }],
    ...changes,
  });
}

/** products = x · mask, one for each place; sum = Σ products: x and its mask are as long as comes, x is padded with 7. */
export function writeMasked(parent: string, golden?: Golden): TinyModel {
  const open = (name: string) => ({
    name,
    op: 'Placeholder',
    attr: { dtype: { type: 'DT_FLOAT' }, shape: { shape: { dim: [{ size: '-1' }, { size: '-1' }] } } },
  });
  return writeModel(parent, {
    name: 'masked',
    format: 'graph',
    inputs: [
      { name: 'x', dtype: 'float32', shape: [null], padding: { sizes: [4, 8, 16], value: 7 } },
      { name: 'mask', dtype: 'float32', shape: [null], maskOf: 'x' },
    ],
    outputs: [
      { name: 'products', dtype: 'float32', shape: [null], unpad: 'x' },
      { name: 'sum', dtype: 'float32', shape: [] },
    ],
    topology: {
      node: [
        open('x'),
        open('mask'),
        {
          name: 'axis',
          op: 'Const',
          attr: {
            dtype: { type: 'DT_INT32' },
            value: { tensor: { dtype: 'DT_INT32', tensorShape: { dim: [{ size: '1' }] } } },
          },
        },
        { name: 'masked', op: 'Mul', input: ['x', 'mask'], attr: { T: { type: 'DT_FLOAT' } } },
        // An operation is an output when no other operation takes it as an input.
        { name: 'products', op: 'Identity', input: ['masked'], attr: { T: { type: 'DT_FLOAT' } } },
        {
          name: 'sum',
          op: 'Sum',
          input: ['masked', 'axis'],
          attr: { T: { type: 'DT_FLOAT' }, Tidx: { type: 'DT_INT32' }, keep_dims: { b: false } },
        },
      ],
      versions: { producer: 1 },
    },
    weights: [{ name: 'axis', shape: [1], dtype: 'int32', values: [1] }],
    ...(golden && { golden }),
  });
}

/** y = x - the mean of the batch: what one row gets depends on the others. */
export function writeCentred(parent: string): TinyModel {
  const type = { T: { type: 'DT_FLOAT' } };
  return writeModel(parent, {
    name: 'centred',
    format: 'graph',
    inputs: [{ name: 'x', dtype: 'float32', shape: [2] }],
    outputs: [{ name: 'y', dtype: 'float32', shape: [2] }],
    topology: {
      node: [
        placeholder('x', 'DT_FLOAT', 2),
        {
          name: 'axis',
          op: 'Const',
          attr: {
            dtype: { type: 'DT_INT32' },
            value: { tensor: { dtype: 'DT_INT32', tensorShape: { dim: [{ size: '1' }] } } },
          },
        },
        {
          name: 'mean',
          op: 'Mean',
          input: ['x', 'axis'],
          attr: { ...type, Tidx: { type: 'DT_INT32' }, keep_dims: { b: true } },
        },
        { name: 'y', op: 'Sub', input: ['x', 'mean'], attr: type },
      ],
      versions: { producer: 1 },
    },
    weights: [{ name: 'axis', shape: [1], dtype: 'int32', values: [0] }],
  });
}

/** Two outputs of other names than their nodes', which the converter wrote in another order: negated = -x, doubled = 2x. */
export function writeTwins(parent: string, name: string, changes: Partial<Description> = {}): TinyModel {
  const shape = { dim: [{ size: '-1' }, { size: '2' }] };
  const tensor = (node: string) => ({ name: `${node}:0`, dtype: 'DT_FLOAT', tensorShape: shape });
  const of = (node: string, op: string, ...input: string[]) => ({
    name: node,
    op,
    input,
    attr: { T: { type: 'DT_FLOAT' } },
  });
  return writeModel(parent, {
    name,
    format: 'graph',
    inputs: [{ name: 'input.1', dtype: 'float32', shape: [2] }],
    outputs: ['negated', 'doubled'].map((output) => ({ name: output, dtype: 'float32', shape: [2] })),
    topology: {
      node: [
        placeholder('x', 'DT_FLOAT', 2),
        of('Identity', 'Neg', 'x'),
        of('Identity_1', 'AddV2', 'x', 'x'),
      ],
      versions: { producer: 1 },
    },
    signature: {
      inputs: { 'input.1': tensor('x') },
      outputs: { doubled: tensor('Identity_1'), negated: tensor('Identity') },
    },
    ...changes,
  });
}

/** The sum of each picture's pixels, which are int32 and of any size. */
export function writeBrightness(parent: string, changes: Partial<Description> = {}): TinyModel {
  const dims = ['-1', '-1', '-1', '3'].map((size) => ({ size }));
  const image = { name: 'picture', dtype: 'image', shape: [null, null, 3], maxPixels: 10_000 } as const;
  return writeModel(parent, {
    name: 'brightness',
    format: 'graph',
    inputs: [{ ...image, shape: [...image.shape] }],
    outputs: [{ name: 'sum', dtype: 'int32', shape: [] }],
    topology: {
      node: [
        {
          name: 'picture',
          op: 'Placeholder',
          attr: { dtype: { type: 'DT_INT32' }, shape: { shape: { dim: dims } } },
        },
        {
          name: 'axes',
          op: 'Const',
          attr: {
            dtype: { type: 'DT_INT32' },
            value: { tensor: { dtype: 'DT_INT32', tensorShape: { dim: [{ size: '3' }] } } },
          },
        },
        {
          name: 'sum',
          op: 'Sum',
          input: ['picture', 'axes'],
          attr: { T: { type: 'DT_INT32' }, Tidx: { type: 'DT_INT32' }, keep_dims: { b: false } },
        },
      ],
      versions: { producer: 1 },
    },
    weights: [{ name: 'axes', shape: [3], dtype: 'int32', values: [1, 2, 3] }],
    ...changes,
  });
}

export function floats(name: string, values: readonly number[]): Instance {
  return { [name]: { dtype: 'float32', shape: [values.length], data: toBytes(Float32Array.from(values)) } };
}

export function goldenOf(rows: readonly number[][], outputs: readonly (readonly number[])[]): Golden {
  return {
    instances: [...rows],
    outputs: outputs.map((values) => ({
      y: { b64: Buffer.from(toBytes(Float32Array.from(values))).toString('base64') },
    })),
  };
}

const CONVOLUTIONS = 6;
const CHANNELS = 32;

/** A square picture of 3 channels through convolutions of 32: few weights, and many sums for each row. */
export function writeConvolutions(parent: string, size: number): TinyModel {
  const layers = Array.from({ length: CONVOLUTIONS }, (_, i) => ({
    class_name: 'Conv2D',
    config: {
      name: `conv${i}`,
      filters: CHANNELS,
      kernel_size: [3, 3],
      padding: 'same',
      activation: 'relu',
      use_bias: false,
      dtype: 'float32',
      ...(i === 0 && { batch_input_shape: [null, size, size, 3] }),
    },
  }));
  const pool = { class_name: 'GlobalAveragePooling2D', config: { name: 'pool', dtype: 'float32' } };
  return writeModel(parent, {
    name: 'convolutions',
    format: 'layers',
    inputs: [{ name: 'x', dtype: 'float32', shape: [size, size, 3] }],
    outputs: [{ name: 'y', dtype: 'float32', shape: [CHANNELS] }],
    topology: {
      model_config: { class_name: 'Sequential', config: { name: 'convolutions', layers: [...layers, pool] } },
    },
    weights: layers.map(({ config: { name } }, i) => {
      const shape = [3, 3, i === 0 ? 3 : CHANNELS, CHANNELS];
      const values = new Array<number>(shape.reduce((product, each) => product * each)).fill(0.01);
      return { name: `${name}/kernel`, shape, dtype: 'float32', values };
    }),
    maxBatchSize: 64,
  });
}

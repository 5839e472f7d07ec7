/**
 * Padding of inputs whose size varies: values are filled up to one of a few sizes, so that instances of unlike length share a
 * batch. A mask says which elements are real, and outputs are cut back to the length of their instance.
 */
import {
  hasRows,
  type Manifest,
  type Signature,
  type TensorSpec,
} from '../../../shared/contract/models/manifest.js';
import { byteLengthOf } from '../../../shared/contract/tensors/dtypes.js';
import { filled, toBytes, toElements } from '../../../shared/contract/tensors/elements.js';
import {
  elementsOf,
  type Instance,
  isTensor,
  type Tensor,
  type Value,
} from '../../../shared/contract/tensors/tensor.js';
import type { BatchTensor } from '../../backends/backend.js';
import { paddedShape } from '../protocol/padded-shape.js';

/**
 * Returns an instance as the model is given it: padded values, and the masks.
 * @param instance has its images decoded.
 */
export function padInstance({ inputs }: Signature, instance: Instance): Instance {
  if (!inputs.some(({ padding }) => padding)) return instance;
  const padded: Record<string, Value> = {};
  for (const spec of inputs) {
    const value = instance[spec.maskOf ?? spec.name];
    if (!value || !isTensor(value)) throw new Error(`${spec.name} is missing`);
    padded[spec.name] = spec.maskOf ? maskOf(spec, inputs, value) : pad(spec, value);
  }
  return padded;
}

function pad(spec: TensorSpec, value: Tensor): Tensor {
  const shape = paddedShape(spec, value.shape);
  if (shape === value.shape) return value;
  const axis = spec.shape.indexOf(null);
  const padding = newTensor(value.dtype, shape, spec.padding?.value ?? 0);
  return withPlaces(value, padding, axis, value.shape[axis] ?? 0);
}

/** Returns 1 for each place of the masked input's varying dimension that is real, and 0 for padding. */
function maskOf(spec: TensorSpec, inputs: readonly TensorSpec[], value: Tensor): Tensor {
  const masked = inputs.find(({ name }) => name === spec.maskOf) as TensorSpec;
  const axis = masked.shape.indexOf(null);
  const size = paddedShape(masked, value.shape)[axis] ?? 0;
  const dtype = spec.dtype as Tensor['dtype'];
  const real = newTensor(dtype, [value.shape[axis] ?? 0], 1);
  return withPlaces(real, newTensor(dtype, [size], 0), 0, value.shape[axis] ?? 0);
}

/** Returns an output as its caller gets it, without what was computed of padding. */
export function trim(
  spec: TensorSpec,
  inputs: readonly TensorSpec[],
  value: Value,
  instance: Instance,
): Value {
  const padded = inputs.find(({ name }) => name === spec.unpad);
  if (!padded || !isTensor(value)) return value;
  const size = instance[padded.name]?.shape[padded.shape.indexOf(null)] ?? 0;
  const axis = spec.shape.indexOf(null);
  if ((value.shape[axis] ?? 0) <= size) return value;
  const shape = value.shape.map((each, i) => (i === axis ? size : each));
  return withPlaces(value, newTensor(value.dtype, shape, 0), axis, size);
}

/** Does the same as `trim` for the output `name` of a batch of one. */
export function trimBatch(
  manifest: Manifest,
  name: string,
  batch: BatchTensor,
  instance: Instance,
): BatchTensor {
  const { inputs, outputs } = manifest.signature;
  const spec = outputs.find((each) => each.name === name);
  if (!spec?.unpad) return batch;
  const rowShape = hasRows(manifest, spec) ? batch.shape.slice(1) : batch.shape;
  const row = { dtype: batch.dtype, shape: rowShape, data: toBytes(batch.data) };
  const { shape, data } = trim(spec, inputs, row, instance);
  return { dtype: batch.dtype, shape: [1, ...shape], data: toElements(batch.dtype, data) };
}

/** Returns one instance of zeros for each padded size, so that a backend meets them all before a caller does; null without padding. */
export function examplesBySize({ inputs }: Signature, example: Instance): Instance[] | null {
  const counts = inputs.map(({ padding }) => padding?.sizes.length ?? 0);
  const most = Math.max(...counts);
  if (most === 0) return null;
  return Array.from({ length: most }, (_, i) => {
    const values: Record<string, Value> = {};
    for (const spec of inputs) {
      const value = example[spec.name];
      if (!value || !isTensor(value)) continue;
      const axis = spec.shape.indexOf(null);
      const size = spec.padding?.sizes[Math.min(i, spec.padding.sizes.length - 1)];
      values[spec.name] =
        size === undefined
          ? value
          : newTensor(
              value.dtype,
              value.shape.map((each, at) => (at === axis ? size : each)),
              0,
            );
    }
    return values;
  });
}

function newTensor(dtype: Tensor['dtype'], shape: readonly number[], fill: number): Tensor {
  const count = elementsOf(shape);
  // Zeros are empty strings.
  if (dtype === 'string') return { dtype, shape, data: new Uint8Array(byteLengthOf(dtype, count)) };
  return { dtype, shape, data: toBytes(filled(dtype, count, fill)) };
}

/** Copies the first `size` places along `axis`, and returns the tensor that has them. */
function withPlaces(from: Tensor, to: Tensor, axis: number, size: number): Tensor {
  const inner = elementsOf(from.shape.slice(axis + 1));
  const outer = elementsOf(from.shape.slice(0, axis));
  const [fromRun, toRun] = [from, to].map(({ shape }) => (shape[axis] ?? 0) * inner) as [number, number];
  if (from.dtype === 'string') {
    const [source, target] = [from, to].map(({ data }) => toElements('string', data)) as [
      readonly Uint8Array[],
      Uint8Array[],
    ];
    for (let i = 0; i < outer; i++)
      for (let j = 0; j < size * inner; j++) target[i * toRun + j] = source[i * fromRun + j] as Uint8Array;
    return { ...to, data: toBytes(target) };
  }
  const width = byteLengthOf(from.dtype, 1);
  for (let i = 0; i < outer; i++) {
    const start = i * fromRun * width;
    to.data.set(from.data.subarray(start, start + size * inner * width), i * toRun * width);
  }
  return to;
}

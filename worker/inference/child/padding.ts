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
import {
  BYTES_PER_ELEMENT,
  elementsOf,
  type Instance,
  isTensor,
  type Tensor,
  toBytes,
  toTypedArray,
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
  const filled = newTensor(value.dtype, shape, spec.padding?.value ?? 0);
  copyRuns(value, filled, axis, value.shape[axis] ?? 0);
  return filled;
}

/** Returns 1 for each place of the masked input's varying dimension that is real, and 0 for padding. */
function maskOf(spec: TensorSpec, inputs: readonly TensorSpec[], value: Tensor): Tensor {
  const masked = inputs.find(({ name }) => name === spec.maskOf) as TensorSpec;
  const axis = masked.shape.indexOf(null);
  const size = paddedShape(masked, value.shape)[axis] ?? 0;
  const mask = newTensor(spec.dtype as Tensor['dtype'], [size], 0);
  toTypedArray(mask.dtype, mask.data).fill(1, 0, value.shape[axis]);
  return mask;
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
  const trimmed = newTensor(value.dtype, shape, 0);
  copyRuns(value, trimmed, axis, size);
  return trimmed;
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
  return { dtype: batch.dtype, shape: [1, ...shape], data: toTypedArray(batch.dtype, data) };
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
  const data = new Uint8Array(elementsOf(shape) * BYTES_PER_ELEMENT[dtype]);
  if (fill !== 0) toTypedArray(dtype, data).fill(fill);
  return { dtype, shape, data };
}

/** Copies the first `size` places along `axis`. */
function copyRuns(from: Tensor, to: Tensor, axis: number, size: number): void {
  const inner = elementsOf(from.shape.slice(axis + 1)) * BYTES_PER_ELEMENT[from.dtype];
  const outer = elementsOf(from.shape.slice(0, axis));
  const [fromRun, toRun] = [from, to].map(({ shape }) => (shape[axis] ?? 0) * inner) as [number, number];
  for (let i = 0; i < outer; i++)
    to.data.set(from.data.subarray(i * fromRun, i * fromRun + size * inner), i * toRun);
}

/**
 * Stacking rows into a batch, and splitting a batch into rows. Both are pure and know bytes and shapes, but no backend.
 *
 * Stacking copies every byte once. Splitting copies nothing, so the rows are views into the batch.
 */
import {
  BYTES_PER_ELEMENT,
  elementsOf,
  type Instance,
  isTensor,
  toBytes,
  toTypedArray,
  type Value,
} from '../../shared/contract/tensors/tensor.js';
import type { BatchTensor } from './backend.js';

/**
 * Returns the input `name` of all instances as one tensor [instances, ...shape].
 *
 * @throws Error when an instance lacks the input, holds an undecoded image, or differs from the first in dtype or shape
 */
export function stack(instances: readonly Instance[], name: string): BatchTensor {
  const first = inputOf(instances, 0, name);
  if (!isTensor(first)) throw new Error(`${name} is an ${first.dtype}, not decoded`);
  const byteLength = elementsOf(first.shape) * BYTES_PER_ELEMENT[first.dtype];
  const bytes = new Uint8Array(byteLength * instances.length);
  for (let row = 0; row < instances.length; row++) {
    const value = inputOf(instances, row, name);
    if (!isLike(value, first, byteLength)) {
      throw new Error(
        `${name} of instance ${row} is ${describe(value)}, that of instance 0 ${describe(first)}`,
      );
    }
    bytes.set(value.data, row * byteLength);
  }
  return {
    dtype: first.dtype,
    shape: [instances.length, ...first.shape],
    data: toTypedArray(first.dtype, bytes),
  };
}

/** Returns the rows of a batch. Their bytes are views into it. */
export function split(batch: BatchTensor): Value[] {
  const [rows = 0, ...shape] = batch.shape;
  const bytes = toBytes(batch.data);
  const byteLength = elementsOf(shape) * BYTES_PER_ELEMENT[batch.dtype];
  return Array.from({ length: rows }, (_, row) => ({
    dtype: batch.dtype,
    shape,
    data: bytes.subarray(row * byteLength, (row + 1) * byteLength),
  }));
}

/** Tells for each row whether all its elements are finite. Integers always are. */
export function finiteRows(batch: BatchTensor): boolean[] {
  const rows = batch.shape[0] ?? 0;
  const { data } = batch;
  if (!(data instanceof Float32Array) || isFiniteBetween(data, 0, data.length)) {
    return new Array<boolean>(rows).fill(true);
  }
  const length = data.length / rows;
  return Array.from({ length: rows }, (_, row) => isFiniteBetween(data, row * length, (row + 1) * length));
}

/** Sums element × 0 without a branch: NaN and Infinity make the sum NaN (IEEE 754), all others keep it 0. */
function isFiniteBetween(values: Float32Array, start: number, end: number): boolean {
  let sum = 0;
  for (let i = start; i < end; i++) sum += (values[i] as number) * 0;
  return sum === 0;
}

function inputOf(instances: readonly Instance[], row: number, name: string): Value {
  const value = instances[row]?.[name];
  if (!value) throw new Error(`instance ${row} has no ${name}`);
  return value;
}

function isLike(value: Value, first: Value, byteLength: number): boolean {
  return (
    value.dtype === first.dtype &&
    value.data.byteLength === byteLength &&
    value.shape.length === first.shape.length &&
    value.shape.every((size, axis) => size === first.shape[axis])
  );
}

function describe(value: Value): string {
  return `${value.dtype} [${value.shape.join(', ')}] in ${value.data.byteLength} bytes`;
}

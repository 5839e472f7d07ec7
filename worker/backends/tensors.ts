/**
 * Stacking rows into a batch, and splitting a batch into rows. Both are pure and know bytes and shapes, but no backend.
 *
 * Stacking copies every byte once. Splitting copies nothing, so the rows are views into the batch.
 */
import { byteLengthOf, toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { areStrings, toBytes, toElements } from '../../shared/contract/tensors/elements.js';
import { elementsOf, type Instance, isTensor, type Value } from '../../shared/contract/tensors/tensor.js';
import type { BatchTensor } from './backend.js';

/**
 * Returns the input `name` of all instances as one tensor [instances, ...shape].
 *
 * @throws Error when an instance lacks the input, holds an undecoded image, or differs from the first in dtype or shape
 */
export function stack(instances: readonly Instance[], name: string): BatchTensor {
  const first = inputOf(instances, 0, name);
  if (!isTensor(first)) throw new Error(`${name} is an ${first.dtype}, not decoded`);
  if (first.dtype === 'string') return stackStrings(instances, name, first);
  const byteLength = byteLengthOf(first.dtype, elementsOf(first.shape));
  const bytes = new Uint8Array(byteLength * instances.length);
  for (let row = 0; row < instances.length; row++) {
    const value = inputOf(instances, row, name);
    if (!isLike(value, first) || value.data.byteLength !== byteLength) throw unlike(name, row, value, first);
    bytes.set(value.data, row * byteLength);
  }
  return {
    dtype: first.dtype,
    shape: [instances.length, ...first.shape],
    data: toTypedArray(first.dtype, bytes),
  };
}

function stackStrings(instances: readonly Instance[], name: string, first: Value): BatchTensor {
  const data: Uint8Array[] = [];
  for (let row = 0; row < instances.length; row++) {
    const value = inputOf(instances, row, name);
    if (!isLike(value, first)) throw unlike(name, row, value, first);
    // An argument for each of very many strings would overflow the stack.
    for (const text of toElements('string', value.data) as Uint8Array[]) data.push(text);
  }
  return { dtype: 'string', shape: [instances.length, ...first.shape], data };
}

/** Returns the rows of a batch. The bytes of numbers are views into it. */
export function split(batch: BatchTensor): Value[] {
  const [rows = 0, ...shape] = batch.shape;
  if (areStrings(batch.data)) return splitStrings(batch.data, rows, shape);
  const bytes = toBytes(batch.data);
  const byteLength = byteLengthOf(batch.dtype, elementsOf(shape));
  return Array.from({ length: rows }, (_, row) => ({
    dtype: batch.dtype,
    shape,
    data: bytes.subarray(row * byteLength, (row + 1) * byteLength),
  }));
}

function splitStrings(strings: readonly Uint8Array[], rows: number, shape: readonly number[]): Value[] {
  const count = elementsOf(shape);
  return Array.from({ length: rows }, (_, row) => ({
    dtype: 'string' as const,
    shape,
    data: toBytes(strings.slice(row * count, (row + 1) * count)),
  }));
}

/** Tells for each row whether all its elements are finite. Integers and strings always are. */
export function finiteRows(batch: BatchTensor): boolean[] {
  const rows = batch.shape[0] ?? 0;
  const { data } = batch;
  const isOfFloats = data instanceof Float32Array || data instanceof Float64Array;
  if (!isOfFloats || isFiniteBetween(data, 0, data.length)) {
    return new Array<boolean>(rows).fill(true);
  }
  const length = data.length / rows;
  return Array.from({ length: rows }, (_, row) => isFiniteBetween(data, row * length, (row + 1) * length));
}

/** Sums element × 0 without a branch: NaN and Infinity make the sum NaN (IEEE 754), all others keep it 0. */
function isFiniteBetween(values: Float32Array | Float64Array, start: number, end: number): boolean {
  let sum = 0;
  for (let i = start; i < end; i++) sum += (values[i] as number) * 0;
  return sum === 0;
}

function inputOf(instances: readonly Instance[], row: number, name: string): Value {
  const value = instances[row]?.[name];
  if (!value) throw new Error(`instance ${row} has no ${name}`);
  return value;
}

function isLike(value: Value, first: Value): boolean {
  return (
    value.dtype === first.dtype &&
    value.shape.length === first.shape.length &&
    value.shape.every((size, axis) => size === first.shape[axis])
  );
}

function unlike(name: string, row: number, value: Value, first: Value): Error {
  return new Error(`${name} of instance ${row} is ${describe(value)}, that of instance 0 ${describe(first)}`);
}

function describe(value: Value): string {
  return `${value.dtype} [${value.shape.join(', ')}] in ${value.data.byteLength} bytes`;
}

/**
 * Encoding a numeric input that came as a number grid: its numbers are compared with the signature and copied, in two passes.
 *
 * Promise: what passes here is what the reader of nested arrays (nesting.ts) takes, and becomes the same bytes.
 */
import type { NumberGrid } from '../json/number-grid.js';
import type { TensorSpec } from '../models/manifest.js';
import { isFloat, isWide, type NumericDtype, newArray, rangeOf, type TypedArray } from './dtypes.js';
import { toBytes } from './elements.js';
import { type Nesting, nestingsOf } from './signature.js';
import { elementsOf, type Value } from './tensor.js';

/** Returns the encoder of one input. It returns null for a grid that the signature does not admit. */
export function createGridEncoder(spec: TensorSpec): (grid: NumberGrid) => Value | null {
  const { dtype } = spec;
  if (dtype === 'image' || dtype === 'audio' || dtype === 'string') return () => null;
  const nestings = new Map(nestingsOf(spec).map((nesting) => [nesting.sizes.length, nesting]));
  const fixed = spec.shape.every((size) => size !== null) ? (spec.shape as number[]) : null;
  return (grid) => {
    const nesting = nestings.get(grid.shape.length);
    if (!nesting || !admits(nesting, grid.shape)) return null;
    const { numbers } = grid;
    const shape = fixed ?? grid.shape;
    if (numbers.length !== elementsOf(shape) || !areElements(dtype, numbers)) return null;
    return { dtype, shape, data: toBytes(toElements(dtype, numbers)) };
  };
}

function admits({ sizes, maxima }: Nesting, shape: readonly number[]): boolean {
  return shape.every((length, axis) => {
    return length >= (sizes[axis] ?? 1) && length <= (maxima[axis] ?? Number.POSITIVE_INFINITY);
  });
}

function areElements(dtype: NumericDtype, numbers: Float64Array): boolean {
  const [least, most] = isWide(dtype) ? safeRange(dtype) : (rangeOf(dtype) as readonly [number, number]);
  const mayBeFraction = isFloat(dtype);
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i] as number;
    if (!(number >= least && number <= most && (mayBeFraction || Number.isInteger(number)))) return false;
  }
  return true;
}

/** Numbers of JSON are exact up to here. */
function safeRange(dtype: 'int64' | 'uint64'): readonly [number, number] {
  return [dtype === 'int64' ? Number.MIN_SAFE_INTEGER : 0, Number.MAX_SAFE_INTEGER];
}

function toElements(dtype: NumericDtype, numbers: Float64Array): TypedArray {
  const elements: TypedArray = newArray(dtype, numbers.length);
  if (elements instanceof BigInt64Array || elements instanceof BigUint64Array)
    for (let i = 0; i < numbers.length; i++) elements[i] = BigInt(numbers[i] as number);
  else elements.set(numbers);
  return elements;
}

/**
 * Encoding a numeric input: nested arrays, base64 or a file become raw little-endian bytes.
 */
import type { TensorSpec } from '../models/manifest.js';
import { escapePointer } from '../schema.js';
import { decodeBase64 } from './base64.js';
import {
  byteLengthOf,
  isFloat,
  isWide,
  type NumericDtype,
  newArray,
  rangeOf,
  type TypedArray,
  toTypedArray,
} from './dtypes.js';
import { toBytes } from './elements.js';
import { type EncodeValue, type FindFile, fail, has, readFile } from './input-value.js';
import { createNestingReader, shapeOfNested, type TakeRow } from './nesting.js';
import { elementSchema } from './signature.js';
import { elementsOf, type Value } from './tensor.js';

/** Returns the encoder of one input of numbers. */
export function createTensorEncoder(spec: TensorSpec, dtype: NumericDtype): EncodeValue {
  const element = isWide(dtype) ? WIDE_ELEMENT : elementSchema(dtype);
  const reader = createNestingReader(spec, element, [`${dtype} values`, '{"b64": …} or {"file": …}']);
  const { fixed } = reader;
  return (value, path, findFile) => {
    if (has(value, 'b64')) return decodeRaw(spec, dtype, fixed, value, path);
    if (has(value, 'file')) return readRaw(spec, dtype, fixed, value, path, findFile);
    reader.check(value, path);
    const shape = fixed ?? shapeOfNested(value);
    const data = newArray(dtype, elementsOf(shape));
    reader.read(value, shape, data.length, path, isWide(dtype) ? wideWriter(dtype, data) : writer(data));
    return { dtype, shape, data: toBytes(data) };
  };
}

/** The reader checks only the kind of an element; `integerOf` says more of what is wrong. */
const WIDE_ELEMENT = { type: ['integer', 'string'] } as const;
const DIGITS = /^(0|-?[1-9][0-9]{0,19})$/;

function writer(data: TypedArray): TakeRow {
  const numbers = data as Float32Array;
  return (row, offset) => {
    for (let i = 0; i < row.length; i++) numbers[offset + i] = row[i] as number;
  };
}

function wideWriter(dtype: 'int64' | 'uint64', data: TypedArray): TakeRow {
  const integers = data as BigInt64Array;
  return (row, offset, pathOf) => {
    for (let i = 0; i < row.length; i++)
      integers[offset + i] = integerOf(dtype, row[i] as number | string, () => pathOf(i));
  };
}

function integerOf(dtype: 'int64' | 'uint64', item: number | string, path: () => string): bigint {
  if (typeof item === 'string' ? !DIGITS.test(item) : !Number.isSafeInteger(item))
    fail(
      path(),
      typeof item === 'string'
        ? 'must be an integer, as a number or as a string of its digits'
        : 'is beyond 2^53 - 1, where numbers of JSON are not exact; send a string of its digits',
    );
  const integer = BigInt(item);
  const [least, most] = rangeOf(dtype);
  if (integer < least || integer > most) fail(path(), `must be from ${least} to ${most}`);
  return integer;
}

function decodeRaw(
  spec: TensorSpec,
  dtype: NumericDtype,
  fixed: number[] | null,
  raw: Record<string, unknown>,
  path: string,
): Value {
  const shape = rawShape(spec, fixed, raw, 'b64', path);
  const bytes = decodeBase64(raw.b64, `${path}/b64`);
  checkLength(bytes.length, dtype, shape, `${path}/b64`);
  return rawValue(dtype, shape, bytes, `${path}/b64`);
}

async function readRaw(
  spec: TensorSpec,
  dtype: NumericDtype,
  fixed: number[] | null,
  raw: Record<string, unknown>,
  path: string,
  findFile: FindFile,
): Promise<Value> {
  const shape = rawShape(spec, fixed, raw, 'file', path);
  // The length is checked first, so that a file of another size is never read.
  const bytes = await readFile(raw.file, `${path}/file`, findFile, (length) =>
    checkLength(length, dtype, shape, `${path}/file`),
  );
  return rawValue(dtype, shape, bytes, `${path}/file`);
}

function rawShape(
  spec: TensorSpec,
  fixed: number[] | null,
  raw: Record<string, unknown>,
  source: string,
  path: string,
): number[] {
  for (const field of Object.keys(raw)) {
    if (field !== source && (fixed || field !== 'shape'))
      fail(`${path}/${escapePointer(field)}`, 'is not a field of a raw value');
  }
  return fixed ?? checkShape(spec, raw.shape, `${path}/shape`);
}

function checkLength(length: number, dtype: NumericDtype, shape: readonly number[], path: string): void {
  const wanted = byteLengthOf(dtype, elementsOf(shape));
  if (length !== wanted)
    fail(path, `must hold ${wanted} bytes (${dtype} [${shape.join(', ')}]), holds ${length}`);
}

function rawValue(dtype: NumericDtype, shape: number[], bytes: Uint8Array, path: string): Value {
  if (isFloat(dtype)) {
    const bad = firstNonFinite(toTypedArray(dtype, bytes) as Float32Array);
    if (bad >= 0) fail(path, `element ${bad} is NaN or Infinity`);
  }
  const noBool = dtype === 'bool' ? bytes.findIndex((byte) => byte > 1) : -1;
  if (noBool >= 0) fail(path, `element ${noBool} is ${bytes[noBool]}; a bool is a byte of 0 or 1`);
  return { dtype, shape, data: bytes };
}

/** Returns the index of the first element that is NaN or Infinity, -1 without any. `findIndex` would call a function for each. */
function firstNonFinite(elements: Float32Array): number {
  for (let i = 0; i < elements.length; i++) if (!Number.isFinite(elements[i])) return i;
  return -1;
}

function checkShape(spec: TensorSpec, shape: unknown, path: string): number[] {
  if (!Array.isArray(shape) || shape.length !== spec.shape.length)
    fail(path, `must be an array of ${spec.shape.length} sizes`);
  shape.forEach((size: unknown, axis) => {
    const fixed = spec.shape[axis] ?? null;
    const maximum = fixed ?? spec.padding?.sizes.at(-1) ?? spec.maxShape?.[axis] ?? Number.MAX_SAFE_INTEGER;
    if (!Number.isInteger(size) || (size as number) < (fixed ?? 1) || (size as number) > maximum) {
      fail(
        `${path}/${axis}`,
        fixed === null ? `must be an integer from 1 to ${maximum}` : `must be ${fixed}`,
      );
    }
  });
  return shape as number[];
}

/**
 * Encoding a numeric input: nested arrays, base64 or a file become raw little-endian bytes.
 */
import type { TensorSpec } from '../models/manifest.js';
import { type Checker, compileSchema, escapePointer, kindOf } from '../schema.js';
import { decodeBase64 } from './base64.js';
import { type EncodeValue, type FindFile, fail, has, InputFault, readFile } from './input-value.js';
import { nestedSchema, nestingsOf } from './signature.js';
import {
  BYTES_PER_ELEMENT,
  type Dtype,
  elementsOf,
  type TypedArray,
  toBytes,
  toTypedArray,
  type Value,
} from './tensor.js';

/** Returns the encoder of one numeric input. Its schemas, one for each admitted rank, are compiled here once. */
export function createTensorEncoder(spec: TensorSpec, dtype: Dtype): EncodeValue {
  const checkers = new Map<number, Checker>();
  for (const nesting of nestingsOf(spec))
    checkers.set(nesting.sizes.length, compileSchema(nestedSchema(dtype, nesting)));
  const shapes = nestingsOf(spec).map(({ sizes }) => `[${sizes.map((size) => size ?? '*').join(', ')}]`);
  const expected = `must be ${dtype} values nested as ${shapes.join(' or ')}, {"b64": …} or {"file": …}`;
  const fixed = spec.shape.every((size) => size !== null) ? (spec.shape as number[]) : null;

  return (value, path, findFile) => {
    if (has(value, 'b64')) return decodeRaw(spec, dtype, fixed, value, path);
    if (has(value, 'file')) return readRaw(spec, dtype, fixed, value, path, findFile);
    if (!Array.isArray(value) && spec.shape.length > 0) fail(path, `${expected}; got ${kindOf(value)}`);
    const check = checkers.get(rankOf(value));
    if (!check) fail(path, `${expected}; got ${rankOf(value)} levels of nesting`);
    const fault = check(value, path);
    if (fault) throw new InputFault(fault);
    const shape = fixed ?? shapeOf(value);
    const data = newArray(dtype, elementsOf(shape));
    const written = flatten(value, data, 0, fixed ? null : shape, path);
    if (written !== data.length) fail(path, `${expected}; got ${written} values`);
    return { dtype, shape, data: toBytes(data) };
  };
}

function decodeRaw(
  spec: TensorSpec,
  dtype: Dtype,
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
  dtype: Dtype,
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

function checkLength(length: number, dtype: Dtype, shape: readonly number[], path: string): void {
  const wanted = elementsOf(shape) * BYTES_PER_ELEMENT[dtype];
  if (length !== wanted)
    fail(path, `must hold ${wanted} bytes (${dtype} [${shape.join(', ')}]), holds ${length}`);
}

function rawValue(dtype: Dtype, shape: number[], bytes: Uint8Array, path: string): Value {
  if (dtype === 'float32') {
    const bad = toTypedArray(dtype, bytes).findIndex((element) => !Number.isFinite(element));
    if (bad >= 0) fail(path, `element ${bad} is NaN or Infinity`);
  }
  const noBool = dtype === 'bool' ? bytes.findIndex((byte) => byte > 1) : -1;
  if (noBool >= 0) fail(path, `element ${noBool} is ${bytes[noBool]}; a bool is a byte of 0 or 1`);
  return { dtype, shape, data: bytes };
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

function rankOf(value: unknown): number {
  return Array.isArray(value) ? 1 + rankOf(value[0]) : 0;
}

function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : [];
}

function newArray(dtype: Dtype, length: number): TypedArray {
  if (dtype === 'float32') return new Float32Array(length);
  return dtype === 'int32' ? new Int32Array(length) : new Uint8Array(length);
}

/**
 * Writes the numbers of `value` from `offset` on and returns the offset behind them.
 *
 * @param shape is given where the schema leaves sizes open; every level must then measure it, so ragged rows are refused
 */
function flatten(
  value: unknown,
  into: TypedArray,
  offset: number,
  shape: readonly number[] | null,
  path: string,
): number {
  if (!Array.isArray(value)) {
    into[offset] = Number(value);
    return offset + 1;
  }
  if (shape && value.length !== shape[0])
    fail(path, `has ${value.length} elements where its first neighbour has ${shape[0]}`);
  let next = offset;
  if (!Array.isArray(value[0])) {
    for (let i = 0; i < value.length; i++) into[next++] = value[i];
    return next;
  }
  const inner = shape?.slice(1) ?? null;
  for (const [index, item] of value.entries()) next = flatten(item, into, next, inner, `${path}/${index}`);
  return next;
}

/**
 * Instances as a caller sends them -> instances as Sluice stores them, or every reason why not.
 *
 * One encoder per model version, its schemas compiled when it is made. tfjs would take `null` for 0, "5" for 5, a ragged
 * array for a full one, and NaN for a number; none of them passes here. A fault names the place of the bad value as a
 * JSON Pointer into the body. Nothing is allocated from a size that a caller states.
 */
import { type Fault, invalid } from '../base/errors.js';
import { readImageHeader } from './image.js';
import type { Manifest, TensorSpec } from './model.js';
import { type Checker, compileSchema, escapePointer } from './schema.js';
import { nestedSchema, nestingsOf } from './signature.js';
import {
  BYTES_PER_ELEMENT,
  type Dtype,
  elementsOf,
  type Instance,
  type TypedArray,
  toBytes,
  toTypedArray,
  type Value,
} from './tensor.js';

export interface InputEncoder {
  /** Throws `invalid_input` with a fault for each bad instance (at most `MAX_FAULTS`). `base` is where `instances` stands. */
  encode(instances: readonly unknown[], base?: string): Promise<Instance[]>;
}

const MAX_FAULTS = 20;

type EncodeValue = (value: unknown, path: string) => Value | Promise<Value>;

export function createInputEncoder(manifest: Manifest): InputEncoder {
  const inputs = manifest.signature.inputs.map((spec) => ({
    name: spec.name,
    encode: createValueEncoder(spec),
  }));
  const only = inputs.length === 1 ? inputs[0] : undefined;

  async function encodeInstance(instance: unknown, path: string): Promise<Instance> {
    if (only) return { [only.name]: await only.encode(instance, path) };
    const fields = asObject(instance, path);
    const known = new Set(inputs.map((input) => input.name));
    for (const field of Object.keys(fields)) {
      if (!known.has(field)) fail(`${path}/${escapePointer(field)}`, 'is not an input of this model');
    }
    const values: Record<string, Value> = {};
    for (const { name, encode } of inputs) {
      if (!Object.hasOwn(fields, name)) fail(`${path}/${name}`, 'is required');
      values[name] = await encode(fields[name], `${path}/${name}`);
    }
    return values;
  }

  return {
    async encode(instances, base = '/instances') {
      const encoded: Instance[] = [];
      const faults: Fault[] = [];
      for (const [index, instance] of instances.entries()) {
        try {
          encoded.push(await encodeInstance(instance, `${base}/${index}`));
        } catch (error) {
          if (!(error instanceof InputFault)) throw error;
          faults.push(error.fault);
          if (faults.length === MAX_FAULTS) break;
        }
      }
      if (faults.length > 0) throw invalid(faults);
      return encoded;
    },
  };
}

class InputFault extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message);
  }
}

function fail(path: string, message: string): never {
  throw new InputFault({ path, message });
}

function createValueEncoder(spec: TensorSpec): EncodeValue {
  return spec.dtype === 'image' ? createImageEncoder(spec) : createTensorEncoder(spec, spec.dtype);
}

function createTensorEncoder(spec: TensorSpec, dtype: Dtype): EncodeValue {
  const checkers = new Map<number, Checker>();
  for (const nesting of nestingsOf(spec))
    checkers.set(nesting.sizes.length, compileSchema(nestedSchema(dtype, nesting)));
  const shapes = nestingsOf(spec).map(({ sizes }) => `[${sizes.map((size) => size ?? '*').join(', ')}]`);
  const expected = `must be ${dtype} values nested as ${shapes.join(' or ')}, or {"b64": …}`;
  const fixed = spec.shape.every((size) => size !== null) ? (spec.shape as number[]) : null;

  return (value, path) => {
    if (isRaw(value)) return decodeRaw(spec, dtype, fixed, value, path);
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

function decodeRaw(spec: TensorSpec, dtype: Dtype, fixed: number[] | null, raw: Raw, path: string): Value {
  for (const field of Object.keys(raw)) {
    if (field !== 'b64' && (fixed || field !== 'shape'))
      fail(`${path}/${escapePointer(field)}`, 'is not a field of a raw value');
  }
  const shape = fixed ?? checkShape(spec, raw.shape, `${path}/shape`);
  const bytes = decodeBase64(raw.b64, `${path}/b64`);
  const length = elementsOf(shape) * BYTES_PER_ELEMENT[dtype];
  if (bytes.length !== length) {
    fail(`${path}/b64`, `must hold ${length} bytes (${dtype} [${shape.join(', ')}]), holds ${bytes.length}`);
  }
  if (dtype === 'float32') {
    const bad = toTypedArray(dtype, bytes).findIndex((element) => !Number.isFinite(element));
    if (bad >= 0) fail(`${path}/b64`, `element ${bad} is NaN or Infinity`);
  }
  return { dtype, shape, data: bytes };
}

function checkShape(spec: TensorSpec, shape: unknown, path: string): number[] {
  if (!Array.isArray(shape) || shape.length !== spec.shape.length)
    fail(path, `must be an array of ${spec.shape.length} sizes`);
  shape.forEach((size: unknown, axis) => {
    const fixed = spec.shape[axis] ?? null;
    const maximum = fixed ?? spec.maxShape?.[axis] ?? Number.MAX_SAFE_INTEGER;
    if (!Number.isInteger(size) || (size as number) < (fixed ?? 1) || (size as number) > maximum) {
      fail(
        `${path}/${axis}`,
        fixed === null ? `must be an integer from 1 to ${maximum}` : `must be ${fixed}`,
      );
    }
  });
  return shape as number[];
}

function createImageEncoder(spec: TensorSpec): EncodeValue {
  const expected = 'must be {"image": {"b64": "<JPEG, PNG or WebP>"}}';
  return async (value, path) => {
    const image = asObject(asObject(value, path, expected).image, `${path}/image`, expected);
    const bytes = decodeBase64(image.b64, `${path}/image/b64`);
    const header = await readImageHeader(bytes).catch((error: Error) =>
      fail(`${path}/image/b64`, error.message),
    );
    const { width, height } = header;
    if (spec.maxPixels !== undefined && width * height > spec.maxPixels) {
      fail(`${path}/image`, `has ${width} × ${height} pixels, more than ${spec.maxPixels}`);
    }
    const shape = [height, width, spec.shape[2] ?? 3];
    shape.forEach((size, axis) => {
      const wanted = spec.shape[axis] ?? null;
      const maximum = wanted ?? spec.maxShape?.[axis] ?? Number.MAX_SAFE_INTEGER;
      if ((wanted !== null && size !== wanted) || size > maximum) {
        fail(
          `${path}/image`,
          `is ${width} × ${height}; ${axis === 0 ? 'height' : 'width'} must be ${wanted ?? `at most ${maximum}`}`,
        );
      }
    });
    return { dtype: 'image', shape, data: bytes };
  };
}

interface Raw {
  b64: unknown;
  shape?: unknown;
}

function isRaw(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, 'b64');
}

function asObject(
  value: unknown,
  path: string,
  expected = 'must be an object with a value for each input',
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail(path, `${expected}; got ${kindOf(value)}`);
  return value as Record<string, unknown>;
}

function decodeBase64(text: unknown, path: string): Buffer {
  if (typeof text !== 'string') fail(path, `must be a base64 string; got ${kindOf(text)}`);
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    fail(path, 'must be base64 (RFC 4648, section 4, padded)');
  return Buffer.from(text, 'base64');
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

/** Writes the numbers of `value` from `offset` on; `shape`, if given, is what every level must measure (no ragged rows). */
function flatten(
  value: unknown,
  into: TypedArray,
  offset: number,
  shape: readonly number[] | null,
  path: string,
): number {
  if (!Array.isArray(value)) {
    into[offset] = value as number;
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

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

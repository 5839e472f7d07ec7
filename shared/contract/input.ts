/**
 * Instances as a caller sends them -> instances as Sluice stores them, or every reason why not.
 *
 * One encoder per model version, its schemas compiled when it is made. tfjs would take `null` for 0, "5" for 5, a ragged
 * array for a full one, and NaN for a number; none of them passes here. A fault names the place of the bad value as a
 * JSON Pointer into the body. Nothing is allocated from a size that a caller states.
 */
import { type Fault, invalid, SluiceError } from '../base/errors.js';
import { readImageHeader } from './image.js';
import { type Manifest, sentInputs, type TensorSpec } from './model.js';
import { type Checker, compileSchema, escapePointer, kindOf } from './schema.js';
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
  /**
   * Throws `invalid_input` with a fault for each bad instance (at most `MAX_FAULTS`). `base` is where `instances` stands.
   * Without `findFile` no instance may name a file.
   */
  encode(instances: readonly unknown[], base?: string, findFile?: FindFile): Promise<Instance[]>;
}

/** What an instance may read of a file. */
export interface InputFile {
  bytes: number;
  /** Null when it is gone. */
  read(): Promise<Uint8Array | null>;
}

/** A text says why there is none to be had. */
export type FindFile = (id: string) => Promise<InputFile | string>;

const NO_FILES: FindFile = async () => 'no file can be named here';

const MAX_FAULTS = 20;
export const NO_SUCH_FILE = 'there is no such file';

type EncodeValue = (value: unknown, path: string, findFile: FindFile) => Value | Promise<Value>;

export function createInputEncoder(manifest: Manifest): InputEncoder {
  const inputs = sentInputs(manifest.signature).map((spec) => ({
    name: spec.name,
    encode: createValueEncoder(spec),
  }));
  const only = inputs.length === 1 ? inputs[0] : undefined;

  async function encodeInstance(instance: unknown, path: string, findFile: FindFile): Promise<Instance> {
    if (only) return { [only.name]: await only.encode(instance, path, findFile) };
    const fields = asObject(instance, path);
    const known = new Set(inputs.map((input) => input.name));
    for (const field of Object.keys(fields)) {
      if (!known.has(field)) fail(`${path}/${escapePointer(field)}`, 'is not an input of this model');
    }
    const values: Record<string, Value> = {};
    for (const { name, encode } of inputs) {
      if (!Object.hasOwn(fields, name)) fail(`${path}/${name}`, 'is required');
      values[name] = await encode(fields[name], `${path}/${name}`, findFile);
    }
    return values;
  }

  return {
    async encode(instances, base = '/instances', findFile = NO_FILES) {
      const encoded: Instance[] = [];
      const faults: Fault[] = [];
      for (const [index, instance] of instances.entries()) {
        try {
          encoded.push(await encodeInstance(instance, `${base}/${index}`, findFile));
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
  // Its length is known before it is read.
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
  return { dtype, shape, data: bytes };
}

async function readFile(
  id: unknown,
  path: string,
  findFile: FindFile,
  checkBytes: (bytes: number) => void = () => undefined,
): Promise<Uint8Array> {
  if (typeof id !== 'string') fail(path, `must be the id of a file; got ${kindOf(id)}`);
  const file = await findFile(id);
  if (typeof file === 'string') fail(path, file);
  checkBytes(file.bytes);
  return (await file.read()) ?? fail(path, NO_SUCH_FILE);
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

function createImageEncoder(spec: TensorSpec): EncodeValue {
  const expected = 'must be {"image": {"b64": "<JPEG, PNG or WebP>"}} or {"image": {"file": "<id>"}}';
  return async (value, path, findFile) => {
    const outer = asObject(value, path, expected);
    if (!Object.hasOwn(outer, 'file') && !Object.hasOwn(outer, 'image')) fail(path, expected);
    const [image, at] = Object.hasOwn(outer, 'file')
      ? [outer, path]
      : [asObject(outer.image, `${path}/image`, expected), `${path}/image`];
    const fromFile = Object.hasOwn(image, 'file');
    if (fromFile && Object.hasOwn(image, 'b64')) fail(`${at}/b64`, 'cannot stand beside `file`');
    const source = fromFile ? `${at}/file` : `${at}/b64`;
    const bytes = fromFile ? await readFile(image.file, source, findFile) : decodeBase64(image.b64, source);
    const header = await readImageHeader(bytes).catch((error: Error) => {
      if (error instanceof SluiceError) throw error;
      return fail(source, error.message);
    });
    const { width, height } = header;
    if (spec.maxPixels !== undefined && width * height > spec.maxPixels) {
      fail(at, `has ${width} × ${height} pixels, more than ${spec.maxPixels}`);
    }
    if (spec.preprocess?.resize) return { dtype: 'image', shape: spec.shape as number[], data: bytes };
    const shape = [height, width, spec.shape[2] ?? 3];
    shape.forEach((size, axis) => {
      const wanted = spec.shape[axis] ?? null;
      const maximum = wanted ?? spec.maxShape?.[axis] ?? Number.MAX_SAFE_INTEGER;
      if ((wanted !== null && size !== wanted) || size > maximum) {
        fail(
          at,
          `is ${width} × ${height}; ${axis === 0 ? 'height' : 'width'} must be ${wanted ?? `at most ${maximum}`}`,
        );
      }
    });
    return { dtype: 'image', shape, data: bytes };
  };
}

function has(value: unknown, field: string): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, field);
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

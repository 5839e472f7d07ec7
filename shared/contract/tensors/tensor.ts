/**
 * Tensors in transit: raw little-endian bytes beside a dtype and a shape, never JSON.
 *
 * A `Value` is one named input or output of one instance. `packInstances` packs a job's instances into the binary string
 * that its record holds: a row of 784 float32 takes 3.1 kB there, and 15 kB as JSON.
 *
 *   packed := u32le headerLength, header (JSON), then every value's bytes, instance after instance
 *   header := { count, rows: [[name, dtype, shape, byteLength, nonFinite?][]] }   one row spec for all instances, or one for each
 */
import { isUtf8 } from 'node:buffer';
import { listOf } from '../json/number-grid.js';
import { byteLengthOf, type Dtype, isWide, toTypedArray } from './dtypes.js';
import { areStrings, toBytes, toElements } from './elements.js';

/**
 * One named input or output of one instance.
 *
 * For `image`, `data` is an encoded file (JPEG, PNG, WebP) and `shape` the one it decodes to, [height, width, channels].
 * For `audio`, `data` is an encoded file (WAV, FLAC) and `shape` the one of the samples that the model is given.
 * For `ranking`, `data` holds float32 scores and then their labels as JSON; `shape` is [number of labels].
 */
export interface Value {
  dtype: Dtype | 'image' | 'audio' | 'ranking';
  shape: readonly number[];
  data: Uint8Array;
  /** Says that NaN and Infinity may be among the numbers, and what JSON shows in their place; the bytes hold them as they are. */
  nonFinite?: 'null' | 'string';
}

/** One example of a job: its values by the name of the input or output. */
export type Instance = Readonly<Record<string, Value>>;

/** A value that a model can take as it is. */
export type Tensor = Value & { dtype: Dtype };

/** Tells whether a value holds plain elements: it is neither an encoded file nor a ranking. */
export function isTensor(value: Value): value is Tensor {
  return value.dtype !== 'image' && value.dtype !== 'audio' && value.dtype !== 'ranking';
}

/** One label of a ranking with its score. */
export interface Ranked {
  label: string;
  score: number;
}

/** Returns how many elements a shape holds; 1 for a scalar, whose shape is empty. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

type ValueSpec = [
  name: string,
  dtype: Value['dtype'],
  shape: readonly number[],
  byteLength: number,
  nonFinite?: 'null' | 'string',
];
interface Header {
  count: number;
  rows: ValueSpec[][];
}

/** Returns a job's instances as one binary string, in the format at the head of this file. */
export function packInstances(instances: readonly Instance[]): Buffer {
  const rows = instances.map(specsOf);
  const header: Header = { count: instances.length, rows: isUniform(rows) ? rows.slice(0, 1) : rows };
  const head = Buffer.from(JSON.stringify(header));
  const parts: Uint8Array[] = [Buffer.alloc(4), head];
  (parts[0] as Buffer).writeUInt32LE(head.length);
  for (const instance of instances) for (const value of Object.values(instance)) parts.push(value.data);
  return Buffer.concat(parts);
}

/** Returns the instances that `packInstances` packed. Their bytes are views into `packed`, not copies. */
export function unpackInstances(packed: Buffer): Instance[] {
  const headLength = packed.readUInt32LE(0);
  const header = JSON.parse(packed.toString('utf8', 4, 4 + headLength)) as Header;
  const instances: Instance[] = [];
  let offset = 4 + headLength;
  for (let row = 0; row < header.count; row++) {
    const instance: Record<string, Value> = {};
    for (const [name, dtype, shape, byteLength, nonFinite] of header.rows[row] ?? header.rows[0] ?? []) {
      const data = packed.subarray(offset, offset + byteLength);
      instance[name] = { dtype, shape, data, ...(nonFinite && { nonFinite }) };
      offset += byteLength;
    }
    instances.push(instance);
  }
  return instances;
}

/** Returns a ranking as one value; `ranked` is best first and stays in that order. */
export function packRanking(ranked: readonly Ranked[]): Value {
  const scores = toBytes(Float32Array.from(ranked, ({ score }) => score));
  const labels = Buffer.from(JSON.stringify(ranked.map(({ label }) => label)));
  return { dtype: 'ranking', shape: [ranked.length], data: Buffer.concat([scores, labels]) };
}

function unpackRanking({ shape: [count = 0], data }: Value): Ranked[] {
  const end = byteLengthOf('float32', count);
  const scores = toTypedArray('float32', data.subarray(0, end));
  const labels: string[] = JSON.parse(Buffer.from(data.subarray(end)).toString());
  return labels.map((label, i) => ({ label, score: scores[i] ?? 0 }));
}

/** Returns a value for JSON: arrays nested in its shape, a ranking as labels and scores, an image or a sound in base64. */
export function toNested(value: Value): unknown {
  if (value.dtype === 'ranking') return unpackRanking(value);
  if (value.dtype === 'image' || value.dtype === 'audio')
    return { [value.dtype]: { b64: Buffer.from(value.data).toString('base64') } };
  return nest(shown(value as Tensor), value.shape);
}

/** Returns the elements as JSON shows them. */
function shown({ dtype, data, nonFinite }: Tensor): readonly unknown[] {
  const elements = toElements(dtype, data);
  if (areStrings(elements)) return elements.map(textOf);
  if (dtype === 'bool') return Array.from(elements as Uint8Array, (byte) => byte !== 0);
  if (isWide(dtype)) return Array.from(elements as BigInt64Array, integerOf);
  if (!nonFinite) return listOf(elements as Float32Array);
  const inPlace = nonFinite === 'null' ? () => null : String;
  return Array.from(elements as Float32Array, (number) =>
    Number.isFinite(number) ? number : inPlace(number),
  );
}

/** A number of JSON is exact up to 2^53 - 1 for most of its readers (RFC 8259, section 6); beyond it a text is. */
function integerOf(integer: bigint): number | string {
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : String(integer);
}

/** Bytes that are no text are shown as TensorFlow Serving shows them. */
function textOf(bytes: Uint8Array): string | { b64: string } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer) ? buffer.toString('utf8') : { b64: buffer.toString('base64') };
}

/** Returns arrays nested in `shape`, which are made level by level, innermost first. */
function nest(flat: readonly unknown[], shape: readonly number[]): unknown {
  if (shape.length === 0) return flat[0];
  let items = flat;
  for (let axis = shape.length - 1; axis > 0; axis--)
    items = inParts(items, shape[axis] ?? 0, elementsOf(shape.slice(0, axis)));
  return items;
}

function inParts(items: readonly unknown[], size: number, count: number): unknown[] {
  const parts: unknown[] = [];
  for (let i = 0; i < count; i++) parts.push(items.slice(i * size, (i + 1) * size));
  return parts;
}

function specsOf(instance: Instance): ValueSpec[] {
  return Object.entries(instance).map(([name, { dtype, shape, data, nonFinite }]) => [
    name,
    dtype,
    shape,
    data.byteLength,
    ...((nonFinite ? [nonFinite] : []) as [('null' | 'string')?]),
  ]);
}

/** Tells whether the first row of specs holds for all. */
function isUniform([first, ...others]: readonly ValueSpec[][]): boolean {
  if (others.length === 0) return true;
  const text = JSON.stringify(first);
  return others.every((other) => JSON.stringify(other) === text);
}

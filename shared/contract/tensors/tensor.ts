/**
 * Tensors as they travel: raw little-endian bytes beside a dtype and a shape, never JSON.
 *
 * A `Value` is one named input or output of one instance. A job's instances are packed into one binary string
 * (`packInstances`), which is what a record holds: a row of 784 float32 takes 3.1 kB, as JSON it would take 15 kB.
 *
 *   packed := u32le headerLength, header (JSON), then every value's bytes, instance after instance
 *   header := { count, rows: [[name, dtype, shape, byteLength][]] }   one row spec for all instances, or one for each
 */

export const DTYPES = ['float32', 'int32', 'uint8'] as const;
export type Dtype = (typeof DTYPES)[number];
export type TypedArray = Float32Array | Int32Array | Uint8Array;

export const BYTES_PER_ELEMENT: Readonly<Record<Dtype, number>> = { float32: 4, int32: 4, uint8: 1 };

/** Inclusive bounds of what a dtype holds; float32 by IEEE 754, finite. */
export const RANGE: Readonly<Record<Dtype, readonly [number, number]>> = {
  float32: [-3.4028234663852886e38, 3.4028234663852886e38],
  int32: [-2147483648, 2147483647],
  uint8: [0, 255],
};

/**
 * `image`: `data` is an encoded file (JPEG, PNG) and `shape` what it decodes to, [height, width, channels].
 * `ranking`: `data` is the float32 scores, then their labels as JSON; `shape` is [how many].
 */
export interface Value {
  dtype: Dtype | 'image' | 'ranking';
  shape: readonly number[];
  data: Uint8Array;
}

/** One example of a job: its values by input (or output) name. */
export type Instance = Readonly<Record<string, Value>>;

/** A value that is numbers in a shape, as the model sees it. */
export type Tensor = Value & { dtype: Dtype };

export function isTensor(value: Value): value is Tensor {
  return value.dtype !== 'image' && value.dtype !== 'ranking';
}

export interface Ranked {
  label: string;
  score: number;
}

export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/** A typed view of little-endian bytes; copies only when they are not aligned. */
export function toTypedArray(dtype: Dtype, bytes: Uint8Array): TypedArray {
  if (dtype === 'uint8') return bytes;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const View = dtype === 'float32' ? Float32Array : Int32Array;
  return new View(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / 4);
}

export function toBytes(values: TypedArray): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

type ValueSpec = [name: string, dtype: Value['dtype'], shape: readonly number[], byteLength: number];
interface Header {
  count: number;
  rows: ValueSpec[][];
}

export function packInstances(instances: readonly Instance[]): Buffer {
  const rows = instances.map(specsOf);
  const header: Header = { count: instances.length, rows: isUniform(rows) ? rows.slice(0, 1) : rows };
  const head = Buffer.from(JSON.stringify(header));
  const parts: Uint8Array[] = [Buffer.alloc(4), head];
  (parts[0] as Buffer).writeUInt32LE(head.length);
  for (const instance of instances) for (const value of Object.values(instance)) parts.push(value.data);
  return Buffer.concat(parts);
}

/** The inverse of `packInstances`; the values' bytes are views into `packed`. */
export function unpackInstances(packed: Buffer): Instance[] {
  const headLength = packed.readUInt32LE(0);
  const header = JSON.parse(packed.toString('utf8', 4, 4 + headLength)) as Header;
  const instances: Instance[] = [];
  let offset = 4 + headLength;
  for (let row = 0; row < header.count; row++) {
    const instance: Record<string, Value> = {};
    for (const [name, dtype, shape, byteLength] of header.rows[row] ?? header.rows[0] ?? []) {
      instance[name] = { dtype, shape, data: packed.subarray(offset, offset + byteLength) };
      offset += byteLength;
    }
    instances.push(instance);
  }
  return instances;
}

export function packRanking(ranked: readonly Ranked[]): Value {
  const scores = toBytes(Float32Array.from(ranked, ({ score }) => score));
  const labels = Buffer.from(JSON.stringify(ranked.map(({ label }) => label)));
  return { dtype: 'ranking', shape: [ranked.length], data: Buffer.concat([scores, labels]) };
}

function unpackRanking({ shape: [count = 0], data }: Value): Ranked[] {
  const end = count * BYTES_PER_ELEMENT.float32;
  const scores = toTypedArray('float32', data.subarray(0, end));
  const labels: string[] = JSON.parse(Buffer.from(data.subarray(end)).toString());
  return labels.map((label, i) => ({ label, score: scores[i] ?? 0 }));
}

/** Nested arrays in the tensor's shape, as JSON shows it; a ranking as its labels and scores. */
export function toNested(value: Value): unknown {
  if (value.dtype === 'ranking') return unpackRanking(value);
  if (value.dtype === 'image') return { image: { b64: Buffer.from(value.data).toString('base64') } };
  const flat = Array.from(toTypedArray(value.dtype, value.data));
  return nest(flat, value.shape, 0, 0);
}

function nest(flat: readonly number[], shape: readonly number[], axis: number, start: number): unknown {
  if (axis === shape.length) return flat[start];
  if (shape.length === 1) return flat;
  const stride = elementsOf(shape.slice(axis + 1));
  const size = shape[axis] ?? 0;
  if (axis === shape.length - 1) return flat.slice(start, start + size);
  return Array.from({ length: size }, (_, i) => nest(flat, shape, axis + 1, start + i * stride));
}

function specsOf(instance: Instance): ValueSpec[] {
  return Object.entries(instance).map(([name, { dtype, shape, data }]) => [
    name,
    dtype,
    shape,
    data.byteLength,
  ]);
}

function isUniform(rows: readonly ValueSpec[][]): boolean {
  const first = JSON.stringify(rows[0]);
  return rows.every((row) => JSON.stringify(row) === first);
}

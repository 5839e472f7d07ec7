/**
 * The types of tensors in transit. Whatever depends on a type reads this table.
 */

/** A `bool` is a byte of 0 or 1; JSON shows it as true or false. A `string` is bytes of any length; JSON shows it as text. */
export const DTYPES = [
  ...(['float32', 'int32', 'uint8', 'bool', 'float64', 'int8', 'int16', 'int64'] as const),
  ...(['uint16', 'uint32', 'uint64', 'string'] as const),
] as const;
export type Dtype = (typeof DTYPES)[number];
export type NumericDtype = Exclude<Dtype, 'string'>;

/** The arrays that hold the numbers of each dtype. */
interface Arrays {
  float32: Float32Array;
  float64: Float64Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
}
export type ArrayOf<D extends NumericDtype> = Arrays[D];
export type TypedArray = Arrays[NumericDtype];

type ViewOf<D extends NumericDtype> = {
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): Arrays[D];
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): Arrays[D];
};

interface NumericType<D extends NumericDtype> {
  View: ViewOf<D>;
  /** Least and greatest number, both included; for floats the finite ones of IEEE 754. */
  range: readonly [number, number] | readonly [bigint, bigint];
  isFloat?: true;
}

const NUMERIC: { readonly [D in NumericDtype]: NumericType<D> } = {
  float32: { View: Float32Array, range: [-3.4028234663852886e38, 3.4028234663852886e38], isFloat: true },
  float64: { View: Float64Array, range: [-Number.MAX_VALUE, Number.MAX_VALUE], isFloat: true },
  int8: { View: Int8Array, range: [-128, 127] },
  int16: { View: Int16Array, range: [-32768, 32767] },
  int32: { View: Int32Array, range: [-2147483648, 2147483647] },
  int64: { View: BigInt64Array, range: [-(2n ** 63n), 2n ** 63n - 1n] },
  uint8: { View: Uint8Array, range: [0, 255] },
  uint16: { View: Uint16Array, range: [0, 65535] },
  uint32: { View: Uint32Array, range: [0, 4294967295] },
  uint64: { View: BigUint64Array, range: [0n, 2n ** 64n - 1n] },
  bool: { View: Uint8Array, range: [0, 1] },
};

/** Least and greatest number of a dtype, both included. They are bigints for integers of 64 bits. */
export function rangeOf(dtype: NumericDtype): readonly [number, number] | readonly [bigint, bigint] {
  return NUMERIC[dtype].range;
}

/** The bytes before each string, which hold its length. */
export const STRING_HEAD_BYTES = 4;

/** Tells whether a dtype has NaN, Infinity and fractions. */
export function isFloat(dtype: string): boolean {
  return dtype === 'float32' || NUMERIC[dtype as NumericDtype]?.isFloat === true;
}

/** The dtypes that the tensors of TensorFlow.js can have. */
export type TfjsDtype = 'float32' | 'int32' | 'uint8' | 'bool';

/** Tells whether TensorFlow.js computes with values of a dtype. */
export function isTfjsDtype(dtype: string): dtype is TfjsDtype {
  return dtype === 'float32' || dtype === 'int32' || dtype === 'uint8' || dtype === 'bool';
}

/** Tells whether a dtype has integers that a number of JSON cannot hold exactly. */
export function isWide(dtype: string): dtype is 'int64' | 'uint64' {
  return dtype === 'int64' || dtype === 'uint64';
}

/** Returns how many bytes so many elements take; of strings, the least. */
export function byteLengthOf(dtype: Dtype, elements: number): number {
  return elements * (dtype === 'string' ? STRING_HEAD_BYTES : NUMERIC[dtype].View.BYTES_PER_ELEMENT);
}

/** Returns an array of zeros. */
export function newArray<D extends NumericDtype>(dtype: D, length: number): ArrayOf<D> {
  const { View }: NumericType<D> = NUMERIC[dtype];
  return new View(length);
}

/** Returns a typed view of little-endian bytes. The bytes are copied only where they are not aligned to an element. */
export function toTypedArray<D extends NumericDtype>(dtype: D, bytes: Uint8Array): ArrayOf<D> {
  const { View }: NumericType<D> = NUMERIC[dtype];
  const width = View.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  return new View(aligned.buffer, aligned.byteOffset, aligned.byteLength / width);
}

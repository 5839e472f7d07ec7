/**
 * Elements: what the bytes of a tensor hold, which is numbers or strings. Code that only moves elements needs no more than this.
 *
 * A string travels as its length in u32le and then its bytes, so zeros are empty strings.
 */
import {
  type Dtype,
  type NumericDtype,
  newArray,
  STRING_HEAD_BYTES,
  type TypedArray,
  toTypedArray,
} from './dtypes.js';

/** The numbers of a tensor, or the bytes of each of its strings. */
export type Elements = TypedArray | readonly Uint8Array[];

/** Tells whether elements are strings. */
export function areStrings(elements: Elements): elements is readonly Uint8Array[] {
  return Array.isArray(elements);
}

/** Returns the elements that bytes hold, as views into them. */
export function toElements(dtype: Dtype, bytes: Uint8Array): Elements {
  return dtype === 'string' ? unpackStrings(bytes) : toTypedArray(dtype, bytes);
}

/** Returns the bytes of elements. Those of numbers are not copied. */
export function toBytes(elements: Elements): Uint8Array {
  if (areStrings(elements)) return packStrings(elements);
  return new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
}

/** Returns so many numbers of one value, which is cut to an integer where the dtype has no fractions. */
export function filled(dtype: NumericDtype, length: number, value: number): TypedArray {
  const values: TypedArray = newArray(dtype, length);
  if (value === 0) return values;
  if (values instanceof BigInt64Array || values instanceof BigUint64Array)
    return values.fill(BigInt(Math.trunc(value)));
  return values.fill(value);
}

/** Returns numbers by which elements can be compared; integers above 2^53 lose their last digits. */
export function toNumbers(elements: TypedArray): ArrayLike<number> {
  return elements instanceof BigInt64Array || elements instanceof BigUint64Array
    ? Array.from(elements, Number)
    : elements;
}

function packStrings(strings: readonly Uint8Array[]): Uint8Array {
  const length = strings.reduce((sum, { byteLength }) => sum + STRING_HEAD_BYTES + byteLength, 0);
  const packed = new Uint8Array(length);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const text of strings) {
    view.setUint32(at, text.byteLength, true);
    packed.set(text, at + STRING_HEAD_BYTES);
    at += STRING_HEAD_BYTES + text.byteLength;
  }
  return packed;
}

function unpackStrings(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const start = at + STRING_HEAD_BYTES;
    at = start + view.getUint32(at, true);
    strings.push(bytes.subarray(start, at));
  }
  return strings;
}

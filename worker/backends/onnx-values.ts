/**
 * The values of tensors at the edge of ONNX Runtime: each type of a model, and the dtype in which it travels.
 */
import { Float16Array } from '@petamoriken/float16';
import type { Tensor } from 'onnxruntime-common';
import { modelDtype, type TensorSpec } from '../../shared/contract/models/manifest.js';
import {
  isFloat,
  isWide,
  type NumericDtype,
  newArray,
  rangeOf,
  type TypedArray,
} from '../../shared/contract/tensors/dtypes.js';
import { areStrings } from '../../shared/contract/tensors/elements.js';
import type { OnnxType } from '../../shared/model-packages/onnx/signature.js';
import type { BatchTensor } from './backend.js';

/** Half of the distance between 1 and the next number, with room for the rounding of sums. */
export const PRECISIONS: Readonly<Partial<Record<OnnxType, number>>> = { float16: 2 ** -8 };

type Values = TypedArray | readonly string[];

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Returns an input in the type that the model takes. A float is never rounded to fit an integer. */
export function toOnnx(spec: TensorSpec, { data, dtype }: BatchTensor, type: OnnxType): Values {
  if (areStrings(data)) return data.map((bytes) => textOf(bytes, spec.name));
  // Halves are handed over as their bits (onnx-runtime.ts).
  if (type === 'float16') return new Uint16Array(Float16Array.from(data as Iterable<number>).buffer);
  // Pixels were checked to be whole.
  if (type === 'string' || (isFloat(dtype) && !isFloat(type) && spec.dtype !== 'image'))
    throw new Error(`input ${spec.name} of the model is ${type}, the signature says ${dtype}`);
  return dtype === type ? data : converted(`input ${spec.name}`, data, type);
}

/** Returns an output in the dtype of the signature. */
export function fromOnnx(
  spec: TensorSpec,
  data: Tensor['data'],
  type: OnnxType,
): Pick<BatchTensor, 'dtype' | 'data'> {
  const dtype = modelDtype(spec);
  if (type === 'string' && dtype === 'string')
    return { dtype, data: (data as string[]).map((text) => Buffer.from(text)) };
  if (type === 'string' || dtype === 'string' || (isFloating(type) && !isFloat(dtype)))
    throw new Error(`output ${spec.name} is ${type}, the signature says ${dtype}`);
  const values = type === 'float16' ? halvesIn(data as Uint16Array) : (data as TypedArray);
  return { dtype, data: dtype === type ? values : converted(`output ${spec.name}`, values, dtype) };
}

function isFloating(type: OnnxType): boolean {
  return type === 'float16' || isFloat(type);
}

function halvesIn({ buffer, byteOffset, length }: Uint16Array): Float32Array {
  return Float32Array.from(new Float16Array(buffer as ArrayBuffer, byteOffset, length));
}

function textOf(bytes: Uint8Array, name: string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Error(`input ${name} has bytes that are no UTF-8, which an ONNX file takes`);
  }
}

/** Returns numbers in another type; those that an integer does not hold are refused. */
function converted(what: string, values: TypedArray, dtype: NumericDtype): TypedArray {
  const made: TypedArray = newArray(dtype, values.length);
  const [least, most] = rangeOf(dtype);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number | bigint;
    if (!isFloat(dtype) && (value < least || value > most))
      throw new Error(`${what} is ${value}, which ${dtype} does not hold`);
    made[i] = isWide(dtype) ? BigInt(value) : Number(value);
  }
  return made;
}

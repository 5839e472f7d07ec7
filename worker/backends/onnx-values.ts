/**
 * The values of tensors at the edge of ONNX Runtime: each type of a model, and the dtype in which it travels.
 */
import { Float16Array } from '@petamoriken/float16';
import type { Tensor } from 'onnxruntime-common';
import type { TensorSpec } from '../../shared/contract/models/manifest.js';
import { rangeOf, type TfjsDtype } from '../../shared/contract/tensors/dtypes.js';
import type { OnnxType } from '../../shared/model-packages/onnx/signature.js';
import type { BatchTensor } from './backend.js';

/** Half of the distance between 1 and the next number, with room for the rounding of sums. */
export const PRECISIONS: Readonly<Partial<Record<OnnxType, number>>> = { float16: 2 ** -8 };

const FLOATS: ReadonlySet<OnnxType> = new Set(['float32', 'float64', 'float16']);

/** The elements of the dtypes in which an ONNX file's tensors travel. */
type TypedArray = Float32Array | Int32Array | Uint8Array;
type Values = TypedArray | Float64Array | Uint16Array | BigInt64Array;

/** Makes the values of a model's type. */
const MADE = {
  float32: (data) => (data instanceof Float32Array ? data : Float32Array.from(data)),
  float64: (data) => Float64Array.from(data),
  // Halves are handed over as their bits (onnx-runtime.ts).
  float16: (data) => new Uint16Array(Float16Array.from(data).buffer),
  int32: (data) => (data instanceof Int32Array ? data : Int32Array.from(data)),
  int64: widened,
  uint8: (data) => (data instanceof Uint8Array ? data : Uint8Array.from(data)),
  bool: (data) => (data instanceof Uint8Array ? data : Uint8Array.from(data)),
} as const satisfies Record<OnnxType, (data: TypedArray) => Values>;

/** Reads the values of a model's type as numbers. */
const READ: Readonly<Partial<Record<OnnxType, (data: ArrayBufferView, name: string) => TypedArray>>> = {
  float64: (data) => Float32Array.from(data as Float64Array),
  float16: ({ buffer, byteOffset, byteLength }) =>
    Float32Array.from(new Float16Array(buffer as ArrayBuffer, byteOffset, byteLength / 2)),
  int64: (data, name) => narrowed(data as BigInt64Array, name),
};

/** Returns an input in the type that the model takes. A float is never rounded to fit an integer. */
export function toOnnx(spec: TensorSpec, { data, dtype }: BatchTensor, type: OnnxType): Values {
  // Pixels were checked to be whole.
  if (dtype === 'float32' && !FLOATS.has(type) && spec.dtype !== 'image')
    throw new Error(`input ${spec.name} of the model is ${type}, the signature says float32`);
  // Manifests are checked: no other dtype comes here.
  return MADE[type](data as TypedArray);
}

/** Returns an output in the dtype of the signature. */
export function fromOnnx(
  spec: TensorSpec,
  data: Tensor['data'],
  type: OnnxType,
): Pick<BatchTensor, 'dtype' | 'data'> {
  const dtype = spec.dtype === 'image' ? 'float32' : (spec.dtype as TfjsDtype);
  if (dtype !== 'float32' && FLOATS.has(type))
    throw new Error(`output ${spec.name} is ${type}, the signature says ${dtype}`);
  const values = READ[type]?.(data as ArrayBufferView, spec.name) ?? (data as TypedArray);
  if (dtype === 'float32') return { dtype, data: MADE.float32(values) };
  if (dtype === 'int32') return { dtype, data: MADE.int32(values) };
  if (!(values instanceof Uint8Array)) demandRange(values, dtype, spec.name);
  return { dtype, data: MADE.uint8(values) };
}

/** The bits of an int64 are those of an int32, and 32 times its sign. */
function widened(data: TypedArray): BigInt64Array {
  const halves = new Int32Array(data.length * 2);
  for (let i = 0; i < data.length; i++) {
    const value = data[i] as number;
    halves[2 * i] = value;
    halves[2 * i + 1] = value < 0 ? -1 : 0;
  }
  return new BigInt64Array(halves.buffer);
}

function narrowed(data: BigInt64Array, name: string): Int32Array {
  const halves = new Int32Array(data.buffer, data.byteOffset, data.length * 2);
  const read = new Int32Array(data.length);
  for (let i = 0; i < read.length; i++) {
    const value = halves[2 * i] as number;
    if (halves[2 * i + 1] !== (value < 0 ? -1 : 0))
      throw new Error(`output ${name} is ${data[i]}, which int32 does not hold`);
    read[i] = value;
  }
  return read;
}

function demandRange(values: TypedArray, dtype: TfjsDtype, name: string): void {
  const [least, most] = rangeOf(dtype);
  const wrong = values.findIndex((value) => value < least || value > most);
  if (wrong >= 0) throw new Error(`output ${name} is ${values[wrong]}, which ${dtype} does not hold`);
}

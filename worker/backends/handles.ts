/**
 * Handles: the tensors that TensorFlow holds for one run of a SavedModel, and how values get in and out of them.
 *
 * The binding makes tensors of float32, int32, int64, uint8, bool and string, and reads float32, int32, int64 and string. Every other
 * type goes through one of these: small integers by a cast, types of equal width by taking the same bits for another type.
 */
import type { NodeJSKernelBackend } from '@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js';
import { type Dtype, newArray, rangeOf, toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { areStrings, type Elements, toBytes } from '../../shared/contract/tensors/elements.js';
import { TF_TYPES } from '../../shared/model-packages/saved-model/signature.js';
import type { BatchTensor } from './backend.js';

export type Binding = NodeJSKernelBackend['binding'];
export type Metadata = ReturnType<Binding['runSavedModel']>[number];

interface Passage {
  /** TensorFlow's number of the type that the binding makes. */
  made: number;
  /** The same of the type that it reads. */
  read: number;
  /** The bits stay what they are; else each number is cast. */
  isSameBits?: true;
}

const { float32, int32, int64, uint8, bool, string } = TF_TYPES;
const PASSAGES: Readonly<Record<Dtype, Passage>> = {
  float32: { made: float32, read: float32 },
  float64: { made: int64, read: int64, isSameBits: true },
  int8: { made: int32, read: int32 },
  int16: { made: int32, read: int32 },
  int32: { made: int32, read: int32 },
  int64: { made: int64, read: int64 },
  uint8: { made: uint8, read: int32 },
  uint16: { made: int32, read: int32 },
  uint32: { made: int32, read: int32, isSameBits: true },
  uint64: { made: int64, read: int64, isSameBits: true },
  bool: { made: bool, read: int32 },
  string: { made: string, read: string },
};

/** Opens the list of tensors that TensorFlow holds for one run; `close` frees them all. */
export function openHandles(binding: Binding) {
  const held: number[] = [];

  function hold(made: Metadata[]): Metadata[] {
    held.push(...made.map(({ id }) => id));
    return made;
  }

  function execute(op: 'Cast' | 'Bitcast', attributes: readonly [string, number, unknown][], id: number) {
    const named = attributes.map(([name, type, value]) => ({ name, type, value }));
    const [made] = hold(binding.executeOp(op, named as never, [id], 1));
    if (!made) throw new Error(`TensorFlow made no tensor of a ${op}`);
    return made.id;
  }

  function cast(id: number, from: number, to: number): number {
    if (from === to) return id;
    const types: [string, number, unknown][] = [
      ['SrcT', binding.TF_ATTR_TYPE, from],
      ['DstT', binding.TF_ATTR_TYPE, to],
    ];
    return execute('Cast', [...types, ['Truncate', binding.TF_ATTR_BOOL, false]], id);
  }

  /** Takes the bits of a tensor for those of another type of equal width. */
  function retype(id: number, from: number, to: number): number {
    const type = binding.TF_ATTR_TYPE;
    const types: [string, number, unknown][] = [
      ['T', type, from],
      ['type', type, to],
    ];
    return execute('Bitcast', types, id);
  }

  return {
    hold,
    /** Makes a tensor of the type that the model takes. */
    create({ data, shape, dtype }: BatchTensor, type: number = TF_TYPES[dtype]): number {
      const { made, isSameBits } = PASSAGES[dtype];
      const id = binding.createTensor([...shape], made, givenFor(dtype, data));
      held.push(id);
      const own = TF_TYPES[dtype];
      return isSameBits ? cast(retype(id, made, own), own, type) : cast(id, made, type);
    },
    /** Returns an output, of whichever type the model computed it, in the dtype that travels. */
    read(name: string, { id, dtype: type }: Metadata, dtype: Dtype): Elements {
      const { read, isSameBits } = PASSAGES[dtype];
      // The binding reads more types than its own declaration says.
      const valuesOf = (each: number) => binding.tensorDataSync(each) as unknown as Elements;
      if (type === int64 && dtype === 'int32') return narrowed(name, valuesOf(id) as BigInt64Array);
      const own = TF_TYPES[dtype];
      return takenFor(
        dtype,
        valuesOf(isSameBits ? retype(cast(id, type, own), own, read) : cast(id, type, read)),
      );
    },
    close(): void {
      for (const id of held) binding.deleteTensor(id);
    },
  };
}

/** Returns elements as the binding takes them, those of 64 bits as pairs of int32. It wants bytes of strings beyond its declaration. */
function givenFor(dtype: Dtype, elements: Elements): Parameters<Binding['createTensor']>[2] {
  if (areStrings(elements)) return elements as never;
  const { made, isSameBits } = PASSAGES[dtype];
  if (made === int64 || isSameBits) return toTypedArray('int32', toBytes(elements));
  return (made === int32 ? int32Of(elements as Int8Array) : elements) as Int32Array;
}

function int32Of(integers: Int8Array | Int32Array): Int32Array {
  return integers instanceof Int32Array ? integers : Int32Array.from(integers);
}

/** Returns what the binding read as elements of a dtype. */
function takenFor(dtype: Dtype, read: Elements): Elements {
  if (dtype === 'string' || areStrings(read)) return read;
  if (PASSAGES[dtype].isSameBits) return toTypedArray(dtype, toBytes(read));
  if (PASSAGES[dtype].read === TF_TYPES[dtype]) return read;
  const narrow = newArray(dtype, read.length) as Int8Array;
  narrow.set(read as Int32Array);
  return narrow;
}

function narrowed(name: string, values: BigInt64Array): Int32Array {
  const [least, most] = rangeOf('int32');
  const read = Int32Array.from(values, Number);
  const wrong = values.findIndex((value) => value < least || value > most);
  if (wrong >= 0) throw new Error(`output ${name} is ${values[wrong]}, which int32 does not hold`);
  return read;
}

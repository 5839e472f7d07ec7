/**
 * A SavedModel on TensorFlow itself: the whole graph runs in one call, as its maker exported it.
 *
 * This module calls the binding directly, because the tensors of tfjs know neither int64 nor float64, and tfjs reads the file
 * in a way of its own. Promises: no program runs that was not checked here; the tensors of a run are freed when it ends, also
 * when it throws; an integer that int32 cannot hold fails the run and is never wrapped.
 */
import type { NodeJSKernelBackend } from '@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { type Dtype, RANGE, type TypedArray } from '../../shared/contract/tensors/tensor.js';
import { readSavedModel, TF_TYPES } from '../../shared/model-packages/saved-model/signature.js';
import type { Tensorflow } from '../../shared/native/tensorflow-library.js';
import type { BatchTensor, LoadedModel } from './backend.js';

type Binding = NodeJSKernelBackend['binding'];
type Metadata = ReturnType<Binding['runSavedModel']>[number];

const TAGS = 'serve';

/** Loads the SavedModel of a version; rejects when its program may not run here or does not fit the signature. */
export async function loadSavedModel(
  tf: Tensorflow,
  folder: string,
  manifest: Manifest,
): Promise<LoadedModel> {
  const ports = await readSavedModel(folder);
  const { inputs, outputs } = manifest.signature;
  const binding = bindingOf(tf);
  const session = binding.loadSavedModel(folder, TAGS);
  const placesOf = (specs: readonly TensorSpec[], kind: 'inputs' | 'outputs') =>
    specs.map(({ name }) => ports[kind].get(name)?.name).join(',');
  const [from, to] = [placesOf(inputs, 'inputs'), placesOf(outputs, 'outputs')];

  return {
    async run(batch) {
      const rows = Object.values(batch)[0]?.shape[0] ?? 0;
      const handles = openHandles(binding);
      try {
        const fed = inputs.map((spec) => {
          const tensor = batch[spec.name];
          if (!tensor) throw new Error(`input ${spec.name} is missing`);
          demandShape(spec, tensor.shape);
          return handles.create(tensor, ports.inputs.get(spec.name)?.dtype);
        });
        const computed = handles.hold(binding.runSavedModel(session, fed, from, to));
        const read = outputs.map((spec, i) => {
          const output = computed[i] as Metadata;
          if (output.shape[0] !== rows)
            throw new Error(`output ${spec.name} is [${output.shape.join(', ')}] for a batch of ${rows}`);
          const dtype = spec.dtype === 'image' ? 'float32' : spec.dtype;
          return [spec.name, { dtype, shape: output.shape, data: handles.read(spec.name, output, dtype) }];
        });
        return Object.fromEntries(read) as Record<string, BatchTensor>;
      } finally {
        handles.close();
      }
    },
    dispose: () => binding.deleteSavedModel(session),
  };
}

/** Counts the tensors that TensorFlow holds for the models of this module. */
export function countHandles(tf: Tensorflow): number {
  return bindingOf(tf).getNumOfTensors();
}

function bindingOf(tf: Tensorflow): Binding {
  return (tf.backend() as NodeJSKernelBackend).binding;
}

/** Opens the list of tensors that TensorFlow holds for one run; `close` frees them all. */
function openHandles(binding: Binding) {
  const held: number[] = [];

  function hold(made: Metadata[]): Metadata[] {
    held.push(...made.map(({ id }) => id));
    return made;
  }

  function cast(id: number, from: number, to: number): number {
    if (from === to) return id;
    const attributes = [
      { name: 'SrcT', type: binding.TF_ATTR_TYPE, value: from },
      { name: 'DstT', type: binding.TF_ATTR_TYPE, value: to },
      { name: 'Truncate', type: binding.TF_ATTR_BOOL, value: false },
    ];
    const [made] = hold(binding.executeOp('Cast', attributes, [id], 1));
    if (!made) throw new Error('TensorFlow made no tensor of a cast');
    return made.id;
  }

  return {
    hold,
    /** Makes a tensor of the type that the model takes. */
    create({ data, shape, dtype }: BatchTensor, type: number = TF_TYPES[dtype]): number {
      const id = binding.createTensor([...shape], TF_TYPES[dtype], data);
      held.push(id);
      return cast(id, TF_TYPES[dtype], type);
    },
    /** Returns an output, of whichever type the model computed it, in the dtype that travels. */
    read(name: string, { id, dtype: type }: Metadata, dtype: Dtype): TypedArray {
      if (type === TF_TYPES.int64)
        return narrowed(name, binding.tensorDataSync(id) as unknown as BigInt64Array);
      // The binding cannot read bytes.
      const read = dtype === 'float32' ? TF_TYPES.float32 : TF_TYPES.int32;
      const values = binding.tensorDataSync(cast(id, type, read));
      return dtype === 'uint8' || dtype === 'bool' ? Uint8Array.from(values) : values;
    },
    close(): void {
      for (const id of held) binding.deleteTensor(id);
    },
  };
}

function narrowed(name: string, values: BigInt64Array): Int32Array {
  const [least, most] = RANGE.int32;
  const read = Int32Array.from(values, Number);
  const wrong = values.findIndex((value) => value < least || value > most);
  if (wrong >= 0) throw new Error(`output ${name} is ${values[wrong]}, which int32 does not hold`);
  return read;
}

/** Refuses a tensor of another shape here, because TensorFlow would end the process over it. */
function demandShape({ name, shape }: TensorSpec, [, ...sizes]: readonly number[]): void {
  if (sizes.length !== shape.length || shape.some((size, i) => size !== null && size !== sizes[i]))
    throw new Error(`input ${name} is [${sizes.join(', ')}], the model takes [${shape.join(', ')}]`);
}

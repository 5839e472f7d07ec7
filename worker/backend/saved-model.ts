/**
 * A SavedModel on TensorFlow itself: the whole graph in one call, as its maker exported it.
 */
import type { NamedTensorMap, Tensor } from '@tensorflow/tfjs-core';
import type { Tensorflow } from '../../shared/base/native.js';
import type { Manifest, TensorSpec } from '../../shared/contract/model.js';
import type { TypedArray } from '../../shared/contract/tensor.js';
import { readSavedModel } from '../../shared/core/saved-model.js';
import type { BatchTensor, BatchTensors, LoadedModel } from './backend.js';

const TAGS = ['serve'];
const SIGNATURE = 'serving_default';

/** Looks at its operations again: nothing is run that was not looked at here. */
export async function loadSavedModel(
  tf: Tensorflow,
  folder: string,
  manifest: Manifest,
): Promise<LoadedModel> {
  await readSavedModel(folder);
  const { inputs, outputs } = manifest.signature;
  const model = await tf.node.loadSavedModel(folder, TAGS, SIGNATURE);

  function feed(batch: BatchTensors): NamedTensorMap {
    const fed: NamedTensorMap = {};
    for (const spec of inputs) {
      const { name } = spec;
      const tensor = batch[name];
      if (!tensor) throw new Error(`input ${name} is missing`);
      const { data, shape, dtype } = tensor;
      demandShape(spec, shape);
      fed[name] = tf.tensor(data, [...shape], dtype === 'float32' ? 'float32' : 'int32') as unknown as Tensor;
    }
    return fed;
  }

  return {
    async run(batch) {
      const rows = Object.values(batch)[0]?.shape[0] ?? 0;
      // Tidy keeps what it returns; what was fed goes, also when the session throws.
      const computed = tf.tidy(
        () => model.predict(feed(batch) as never) as never,
      ) as unknown as NamedTensorMap;
      try {
        const read: Record<string, BatchTensor> = {};
        for (const { name, dtype } of outputs) {
          const tensor = computed[name];
          if (!tensor) throw new Error(`the model computes no ${name}`);
          const { shape } = tensor;
          if (shape[0] !== rows)
            throw new Error(`output ${name} is [${shape.join(', ')}] for a batch of ${rows}`);
          const data = (await tensor.data()) as TypedArray;
          read[name] = { dtype: dtype === 'int32' ? 'int32' : 'float32', shape, data };
        }
        return read;
      } finally {
        tf.dispose(computed as never);
      }
    },
    dispose: () => model.dispose(),
  };
}

/** TensorFlow ends the process over a tensor of another rank. */
function demandShape({ name, shape }: TensorSpec, [, ...sizes]: readonly number[]): void {
  if (sizes.length !== shape.length || shape.some((size, i) => size !== null && size !== sizes[i]))
    throw new Error(`input ${name} is [${sizes.join(', ')}], the model takes [${shape.join(', ')}]`);
}

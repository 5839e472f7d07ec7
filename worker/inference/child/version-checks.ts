/**
 * Version checks: what a version must do before it serves. It computes its golden vectors, and batches of every size.
 */
import { messageOf } from '../../../shared/base/errors.js';
import { type Manifest, sentInputs, type TensorSpec } from '../../../shared/contract/models/manifest.js';
import {
  BYTES_PER_ELEMENT,
  type Dtype,
  elementsOf,
  type Instance,
  type Value,
} from '../../../shared/contract/tensors/tensor.js';
import type { LoadedModel } from '../../backends/backend.js';
import { compareGolden, type GoldenVectors } from './golden.js';
import { decodeInstance, stackInstances } from './instances.js';
import { examplesBySize, padInstance, trimBatch } from './padding.js';

/**
 * Resolves with the instance by which a version is warmed up and measured: the first golden one, else zeros. Null when a size
 * varies and no golden instance shows one.
 */
export async function exampleOf(manifest: Manifest, golden: GoldenVectors | null): Promise<Instance | null> {
  const example = golden?.instances[0] ?? zeroInstance(sentInputs(manifest.signature));
  if (!example) return null;
  const decoded = await decodeInstance(manifest, example);
  if (!decoded.ok) throw new Error(`golden instance 0: ${decoded.message}`);
  return decoded.instance;
}

/**
 * Resolves with the largest difference between what the model computes and the golden vectors; rejects when it is above the
 * tolerance. Instances run one at a time, because their shapes may differ.
 */
export async function checkGolden(
  manifest: Manifest,
  model: LoadedModel,
  golden: GoldenVectors,
): Promise<number> {
  let largest = 0;
  for (const [index, instance] of golden.instances.entries()) {
    const decoded = await decodeInstance(manifest, instance);
    if (!decoded.ok) throw new Error(`golden instance ${index}: ${decoded.message}`);
    const computed = await model.run(stackInstances(manifest, [decoded.padded]));
    const trimmed = Object.fromEntries(
      Object.entries(computed).map(([name, batch]) => [
        name,
        trimBatch(manifest, name, batch, decoded.instance),
      ]),
    );
    try {
      const expected = golden.outputs[index] ?? {};
      largest = Math.max(largest, compareGolden(expected, trimmed, manifest.quantization?.tolerance));
    } catch (error) {
      throw new Error(`golden instance ${index}: ${messageOf(error)}`);
    }
  }
  return largest;
}

/**
 * Runs batches of every preferred size, else of 1 and of maxBatchSize, at every padded size. So the first caller waits for no
 * lazy set-up, and a model that cannot take a full batch is found now. Without an example nothing is run.
 */
export async function warmUp(
  manifest: Manifest,
  model: LoadedModel,
  example: Instance | null,
): Promise<void> {
  if (!example) return;
  const { signature, batching } = manifest;
  const { maxBatchSize, preferredSizes = [1, maxBatchSize] } = batching;
  for (const each of examplesBySize(signature, example) ?? [example])
    for (const size of new Set(preferredSizes)) {
      const padded = padInstance(signature, each);
      await model.run(stackInstances(manifest, new Array<Instance>(size).fill(padded)));
    }
}

/** Returns null when a size varies. */
function zeroInstance(specs: readonly TensorSpec[]): Instance | null {
  const values: Record<string, Value> = {};
  for (const { name, dtype, shape, padding } of specs) {
    const sizes = shape.map((size) => size ?? padding?.sizes[0] ?? null).filter((size) => size !== null);
    if (sizes.length < shape.length) return null;
    const tensorDtype: Dtype = dtype === 'image' ? 'float32' : dtype;
    const data = new Uint8Array(elementsOf(sizes) * BYTES_PER_ELEMENT[tensorDtype]);
    values[name] = { dtype: tensorDtype, shape: sizes, data };
  }
  return values;
}

/**
 * Padded shape: to which shapes and sizes values and batches are padded. Parent and child must agree on them: by them the
 * parent decides which instances may share a batch, and the child copies the values.
 */
import type { Manifest, Signature, TensorSpec } from '../../../shared/contract/models/manifest.js';
import { elementsOf, type Instance } from '../../../shared/contract/tensors/tensor.js';

/** Returns the shape that a value of the input has in a batch. */
export function paddedShape({ shape, padding }: TensorSpec, actual: readonly number[]): readonly number[] {
  if (!padding) return actual;
  const axis = shape.indexOf(null);
  const size = actual[axis] ?? 0;
  const padded = padding.sizes.find((each) => each >= size) ?? size;
  return padded === size ? actual : actual.map((each, i) => (i === axis ? padded : each));
}

/** Returns how many elements an instance has, and how many elements of padding come to them in a batch. */
export function paddingOf({ inputs }: Signature, instance: Instance): { real: number; padding: number } {
  let real = 0;
  let all = 0;
  for (const spec of inputs) {
    const value = instance[spec.name];
    if (!value) continue;
    real += elementsOf(value.shape);
    all += elementsOf(paddedShape(spec, value.shape));
  }
  return { real, padding: all - real };
}

/** Returns how many rows the backend is given for a batch of `size`; `size` itself where it is above all preferred sizes. */
export function filledSize(
  { preferredSizes }: Pick<Manifest['batching'], 'preferredSizes'>,
  size: number,
): number {
  return preferredSizes?.find((each) => each >= size) ?? size;
}

/**
 * Returns how many rows the model is given for so many instances. The one size that a model takes holds always; the preferred
 * sizes do not hold for an `exact` batch.
 */
export function givenRows({ signature, batching }: Manifest, instances: number, exact: boolean): number {
  if (signature.batchSize !== undefined && batching.dimension !== 'none') return signature.batchSize;
  return exact ? instances : filledSize(batching, instances);
}

/**
 * Batch dependence: whether a version's predictions for an instance depend on the others in its batch, as with a mean over the
 * batch. Such instances must not share batches with those of strangers.
 *
 * Unlike instances are computed each alone and all together, and compared. Kernels add in another order for another batch, so
 * floats may differ a little; integers may not.
 */

import {
  hasRows,
  type Manifest,
  sentInputs,
  type TensorSpec,
} from '../../../shared/contract/models/manifest.js';
import type { NumericDtype, TypedArray } from '../../../shared/contract/tensors/dtypes.js';
import {
  areStrings,
  type Elements,
  filled,
  toBytes,
  toElements,
} from '../../../shared/contract/tensors/elements.js';
import { type Instance, isTensor, type Value } from '../../../shared/contract/tensors/tensor.js';
import type { BatchTensors } from '../../backends/backend.js';
import { givenRows } from '../protocol/padded-shape.js';
import type { RunRows } from './examples.js';
import { rowsOfOutput } from './instances.js';
import { padInstance } from './padding.js';

/** So many instances are compared. */
const COMPARED = 3;
/** Floats may differ by this part of the largest value, or of `LEAST_PEAK`. */
const TOLERANCE = 1e-3;
const LEAST_PEAK = 0.1;
const UNKNOWN =
  'Nothing shows that its predictions do not depend on who shares the batch, because it refused invented values. Each job has batches of its own; `batching: {crossJob: allow}` lets them share.';

/**
 * Resolves with a sentence about the difference that was found, or why none could be looked for; null where the batch makes none, or cannot
 * be shared at all.
 */
export async function findDependence(
  manifest: Manifest,
  run: RunRows,
  example: Instance,
  precisionOf: (output: string) => number | undefined = () => undefined,
): Promise<string | null> {
  const count = Math.min(COMPARED, manifest.signature.batchSize ?? manifest.batching.maxBatchSize);
  if (count < 2) return null;
  const rows = Array.from({ length: count }, (_, i) =>
    padInstance(manifest.signature, vary(manifest, example, i)),
  );
  const filled = (instances: readonly Instance[]) => {
    const size = givenRows(manifest, instances.length, false);
    return run(Array.from({ length: size }, (_, i) => instances[i % instances.length] as Instance));
  };
  let together: BatchTensors;
  const alone: BatchTensors[] = [];
  try {
    together = await filled(rows);
    for (const row of rows) alone.push(await filled([row]));
  } catch {
    // The model does not take invented values, which says nothing about batches. What cannot be shown is not assumed.
    return manifest.batching.crossJob === 'allow' ? null : UNKNOWN;
  }
  for (const spec of manifest.signature.outputs) {
    const shared = valuesOf(manifest, spec, together, count);
    for (const [i, outputs] of alone.entries()) {
      const [own] = valuesOf(manifest, spec, outputs, 1);
      const difference = differenceOf(own, shared[i], Math.max(TOLERANCE, precisionOf(spec.name) ?? 0));
      if (difference !== null)
        return `Its predictions depend on who shares the batch: ${spec.name} differs by ${difference} from what it is alone. ${
          manifest.batching.crossJob === 'allow'
            ? 'Jobs share batches all the same, because of `crossJob: allow`.'
            : 'Each job has batches of its own.'
        }`;
    }
  }
  return null;
}

function valuesOf(manifest: Manifest, spec: TensorSpec, outputs: BatchTensors, count: number): Elements[] {
  const batch = outputs[spec.name];
  if (!batch) throw new Error(`the backend answered without ${spec.name}`);
  return rowsOfOutput(manifest, spec, batch, count).map(({ data }) => toElements(batch.dtype, data));
}

/** Returns the largest difference; null when it is within the tolerance. */
function differenceOf(a: Elements | undefined, b: Elements | undefined, tolerance: number): number | null {
  if (!a || !b || a.length !== b.length) return Number.POSITIVE_INFINITY;
  if (areStrings(a) || areStrings(b))
    return Buffer.compare(toBytes(a), toBytes(b)) === 0 ? null : Number.POSITIVE_INFINITY;
  let largest = 0;
  let peak = LEAST_PEAK;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i], b[i]];
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const difference = typeof x === 'bigint' ? Number(x - (y as bigint)) : (x as number) - (y as number);
    largest = Math.max(largest, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.abs(difference));
    peak = Math.max(peak, Math.abs(Number(x)), Math.abs(Number(y)));
  }
  const isOfFloats = a instanceof Float32Array || a instanceof Float64Array;
  const allowed = isOfFloats ? tolerance * peak : 0;
  return largest > allowed ? Number(largest.toPrecision(3)) : null;
}

/** Returns the example itself, or one of equal shapes and other values that its model should take. */
function vary(manifest: Manifest, example: Instance, seed: number): Instance {
  if (seed === 0) return example;
  const varied: Record<string, Value> = { ...example };
  for (const spec of sentInputs(manifest.signature)) {
    const value = example[spec.name];
    if (!value || !isTensor(value) || !hasRows(manifest, spec)) continue;
    const values = toElements(value.dtype, value.data);
    const others = areStrings(values)
      ? values.map((text) => variedText(text, seed))
      : variedValues(spec, values, seed);
    varied[spec.name] = { ...value, data: toBytes(others) };
  }
  return varied;
}

/** Texts of one letter or none become digits, which models of numbers take, too. */
function variedText(text: Uint8Array, seed: number): Uint8Array {
  return text.byteLength > COMPARED ? text.subarray(0, text.byteLength - seed) : Buffer.from(String(seed));
}

function variedValues({ dtype, scale = 1 }: TensorSpec, values: TypedArray, seed: number): TypedArray {
  // Whole pixels, which an integer input holds, too.
  if (dtype === 'image')
    return Float32Array.from(values as Float32Array, (_, i) => ((i * 31 + seed * 97) % 256) * scale);
  const varied: TypedArray = values.slice();
  if (varied instanceof Float32Array || varied instanceof Float64Array)
    return varied.map((_, i) => fraction(Math.sin(i * 12.9898 + seed * 78.233) * 43758.5453));
  // The values of an example are valid wherever they stand, and 0 and 1 are valid for almost all models.
  const isZero = !values.some((value) => Number(value) !== 0);
  const valid = isZero ? zeroAndOne(dtype as NumericDtype) : values;
  for (let i = 0; i < varied.length; i++) varied[i] = valid[(i + seed) % valid.length] as never;
  return varied;
}

function zeroAndOne(dtype: NumericDtype): TypedArray {
  const bits = filled(dtype, 2, 1);
  bits.set(filled(dtype, 1, 0) as never);
  return bits;
}

function fraction(value: number): number {
  return value - Math.floor(value);
}

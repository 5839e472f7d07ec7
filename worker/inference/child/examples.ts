/**
 * Examples: the instance by which a version is warmed up, measured and judged. It is the first golden one, else zeros. Where a
 * size varies and nothing tells one, sizes are tried, so that no version is called ready which computes at none of them.
 */
import { messageOf } from '../../../shared/base/errors.js';
import {
  hasRows,
  type Manifest,
  modelShape,
  sentInputs,
  type TensorSpec,
} from '../../../shared/contract/models/manifest.js';
import {
  BYTES_PER_ELEMENT,
  type Dtype,
  elementsOf,
  type Instance,
  toTypedArray,
  type Value,
} from '../../../shared/contract/tensors/tensor.js';
import type { BatchTensors } from '../../backends/backend.js';
import type { GoldenVectors } from './golden.js';
import { decodeInstance } from './instances.js';
import { padInstance } from './padding.js';

/** Runs padded instances as one batch. */
export type RunRows = (rows: readonly Instance[]) => Promise<BatchTensors>;

export interface FoundExample {
  /** Null when the version computed at no size that was tried. */
  instance: Instance | null;
  warning: string | null;
}

/** Sizes that are tried for dimensions that vary, in this order: those of pictures and sequences, of which most are large enough. */
const SIZES = [64, 224, 32, 128, 256, 16, 512, 8, 1];
/** A try must not take the memory that callers need. */
const MAX_ELEMENTS = 2 ** 22;

/** Resolves with an instance that the version computes, decoded and not padded. */
export async function findExample(
  manifest: Manifest,
  run: RunRows,
  golden: GoldenVectors | null,
): Promise<FoundExample> {
  const [first] = golden?.instances ?? [];
  if (first) {
    const decoded = await decodeInstance(manifest, first);
    if (!decoded.ok) throw new Error(`golden instance 0: ${decoded.message}`);
    return { instance: decoded.instance, warning: null };
  }
  const fixed = zeroInstance(manifest, null);
  return fixed ? { instance: fixed, warning: null } : trySizes(manifest, run);
}

async function trySizes(manifest: Manifest, run: RunRows): Promise<FoundExample> {
  const reasons: string[] = [];
  for (const size of SIZES) {
    const instance = zeroInstance(manifest, size);
    if (!instance) continue;
    try {
      const count = manifest.signature.batchSize ?? 1;
      await run(new Array<Instance>(count).fill(padInstance(manifest.signature, instance)));
      return { instance, warning: null };
    } catch (error) {
      reasons.push(`${size}: ${messageOf(error)}`);
    }
  }
  const why = reasons[0] ?? 'none of them is within its bounds';
  return {
    instance: null,
    warning: `It was never computed: a size of its input varies, no golden instance shows one, and it failed at ${SIZES.join(', ')} (${why}).`,
  };
}

/** Returns an instance of zeros, in which dimensions that vary have this size; null where nothing fits. */
function zeroInstance(manifest: Manifest, size: number | null): Instance | null {
  const values: Record<string, Value> = {};
  let elements = 0;
  for (const spec of sentInputs(manifest.signature)) {
    const sizes = sizesOf(spec, size);
    if (!sizes) return null;
    elements += elementsOf(sizes);
    const dtype: Dtype = spec.dtype === 'image' ? 'float32' : spec.dtype;
    const data = new Uint8Array(elementsOf(sizes) * BYTES_PER_ELEMENT[dtype]);
    // A side input is often a divisor, such as a temperature.
    if (!hasRows(manifest, spec) && dtype === 'float32') toTypedArray(dtype, data).fill(1);
    values[spec.name] = { dtype, shape: modelShape(spec, sizes), data };
  }
  return size !== null && elements > MAX_ELEMENTS ? null : values;
}

function sizesOf(
  { shape, padding, maxShape, maxPixels }: TensorSpec,
  size: number | null,
): readonly number[] | null {
  const sizes = shape.map((each) => each ?? padding?.sizes[0] ?? size);
  if (!sizes.every((each) => each !== null)) return null;
  const isBounded = sizes.every(
    (each, axis) => shape[axis] !== null || padding || each <= (maxShape?.[axis] ?? Number.POSITIVE_INFINITY),
  );
  const [height = 1, width = 1] = sizes;
  return isBounded && (maxPixels === undefined || height * width <= maxPixels) ? sizes : null;
}

/**
 * Examples: the instance by which a version is warmed up, measured and judged. It is the first golden one, else zeros. Where a
 * size varies and nothing tells one, sizes are tried, so that no version is called ready which computes at none of them.
 */
import { messageOf } from '../../../shared/base/errors.js';
import {
  hasRows,
  type Manifest,
  modelDtype,
  modelShape,
  sentInputs,
  type TensorSpec,
} from '../../../shared/contract/models/manifest.js';
import { isFloat } from '../../../shared/contract/tensors/dtypes.js';
import { filled, toBytes } from '../../../shared/contract/tensors/elements.js';
import { elementsOf, type Instance, type Value } from '../../../shared/contract/tensors/tensor.js';
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
/** Strings that are tried: models of text take the empty one, others take numbers as text, or an encoded picture (a PNG of one pixel). */
const STRINGS: readonly Uint8Array[] = [
  '',
  'MA==',
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mNgYGAAAAAEAAHI6uv5AAAAAElFTkSuQmCC',
].map((text) => Buffer.from(text, 'base64'));
const EMPTY = STRINGS.slice(0, 1);
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
  const hasStrings = sentInputs(manifest.signature).some(({ dtype }) => dtype === 'string');
  const fixed = zeroInstance(manifest, null);
  if (fixed && !hasStrings) return { instance: fixed, warning: null };
  return tryOut(manifest, run, fixed ? [null] : SIZES, hasStrings ? STRINGS : EMPTY);
}

/** Resolves with the first instance that the version computes. */
async function tryOut(
  manifest: Manifest,
  run: RunRows,
  sizes: readonly (number | null)[],
  strings: readonly Uint8Array[],
): Promise<FoundExample> {
  const reasons: string[] = [];
  for (const text of strings)
    for (const size of sizes) {
      const instance = zeroInstance(manifest, size, text);
      if (!instance) continue;
      try {
        const count = manifest.signature.batchSize ?? 1;
        await run(new Array<Instance>(count).fill(padInstance(manifest.signature, instance)));
        return { instance, warning: null };
      } catch (error) {
        reasons.push(size === null ? messageOf(error) : `${size}: ${messageOf(error)}`);
      }
    }
  const what =
    sizes[0] === null
      ? 'no golden instance shows one of its strings, and it failed for an empty one, a number and a picture'
      : `a size of its input varies, no golden instance shows one, and it failed at ${sizes.join(', ')}`;
  const why = reasons[0] ?? 'none of them is within its bounds';
  return { instance: null, warning: `It was never computed: ${what} (${why}).` };
}

/** Returns an instance of zeros and of one text, in which dimensions that vary have this size; null where nothing fits. */
function zeroInstance(
  manifest: Manifest,
  size: number | null,
  text = EMPTY[0] as Uint8Array,
): Instance | null {
  const values: Record<string, Value> = {};
  let elements = 0;
  for (const spec of sentInputs(manifest.signature)) {
    const sizes = sizesOf(spec, size);
    if (!sizes) return null;
    elements += elementsOf(sizes);
    const dtype = modelDtype(spec);
    const count = elementsOf(sizes);
    // A side input is often a divisor, such as a temperature.
    const number = !hasRows(manifest, spec) && isFloat(dtype) ? 1 : 0;
    const same = dtype === 'string' ? new Array<Uint8Array>(count).fill(text) : filled(dtype, count, number);
    values[spec.name] = { dtype, shape: modelShape(spec, sizes), data: toBytes(same) };
  }
  return size !== null && elements > MAX_ELEMENTS ? null : values;
}

function sizesOf(
  { shape, padding, maxShape, maxPixels, sampleRate }: TensorSpec,
  size: number | null,
): readonly number[] | null {
  // Models of sound take a second, if not less.
  const second = (axis: number) => sampleRate && Math.min(sampleRate, maxShape?.[axis] ?? sampleRate);
  const sizes = shape.map((each, axis) => each ?? padding?.sizes[0] ?? second(axis) ?? size);
  if (!sizes.every((each) => each !== null)) return null;
  const isBounded = sizes.every(
    (each, axis) => shape[axis] !== null || padding || each <= (maxShape?.[axis] ?? Number.POSITIVE_INFINITY),
  );
  const [height = 1, width = 1] = sizes;
  return isBounded && (maxPixels === undefined || height * width <= maxPixels) ? sizes : null;
}

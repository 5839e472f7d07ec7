/**
 * Golden vectors: instances as a caller sends them, beside what the model must compute for them: raw float32, or values in the form
 * of inputs, which tell strings and integers exactly.
 *
 * They catch what a checksum cannot catch: a backend or a library that computes something else from the same bytes.
 */
import { readFile } from 'node:fs/promises';
import type { Golden, Manifest } from '../../../shared/contract/models/manifest.js';
import { type Dtype, type TypedArray, toTypedArray } from '../../../shared/contract/tensors/dtypes.js';
import {
  areStrings,
  type Elements,
  toElements,
  toNumbers,
} from '../../../shared/contract/tensors/elements.js';
import { createInputEncoder } from '../../../shared/contract/tensors/input.js';
import { has } from '../../../shared/contract/tensors/input-value.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../../shared/images/image.js';
import type { BatchTensors } from '../../backends/backend.js';
import { containedPath } from './verified-files.js';

/**
 * A version serves while |computed - golden| is at most this, for an output whose golden values stay within ±1. Where they are
 * larger, the tolerance grows in proportion to the largest of them, because a float32 sum over 0…255 differs by more between
 * correct backends. That holds for dark pixels of such an output, too.
 */
export const GOLDEN_TOLERANCE = 1e-4;

const NUMBERS = { dtype: 'float32' as const, shape: [] as number[] };

export interface GoldenVectors {
  instances: Instance[];
  /** The expected values of each instance, by output name. */
  outputs: Record<string, Elements>[];
}

/** Resolves with the golden vectors of a version, or with null when it has none. Rejects when the file is damaged. */
export async function readGolden(folder: string, manifest: Manifest): Promise<GoldenVectors | null> {
  if (manifest.golden === undefined) return null;
  const text = await readFile(await containedPath(folder, manifest.golden), 'utf8');
  const golden = JSON.parse(text) as Golden;
  if (golden.instances.length === 0 || golden.instances.length !== golden.outputs.length) {
    throw new Error(
      `${manifest.golden} has ${golden.instances.length} instances and ${golden.outputs.length} outputs`,
    );
  }
  return {
    instances: await createInputEncoder(manifest, readImageHeader).encode(golden.instances),
    outputs: await Promise.all(golden.outputs.map((row) => expectedOf(manifest, row))),
  };
}

/**
 * Returns the largest difference between a computed row and its golden one. Throws when it is above the tolerance, or when the
 * two cannot be compared.
 * @param allowed is the tolerance for values within ±1.
 */
export function compareGolden(
  expected: Record<string, Elements>,
  computed: BatchTensors,
  allowed = GOLDEN_TOLERANCE,
): number {
  let largest = 0;
  for (const [name, values] of Object.entries(expected)) {
    const data = computed[name]?.data;
    if (data?.length !== values.length) {
      throw new Error(`output ${name} has ${data?.length ?? 'no'} elements, golden ${values.length}`);
    }
    if (areStrings(values) || areStrings(data)) demandSame(name, values, data);
    else largest = Math.max(largest, differenceOf(name, values, data, allowed));
  }
  return largest;
}

function differenceOf(name: string, values: TypedArray, data: TypedArray, allowed: number): number {
  let largest = 0;
  const golden = toNumbers(values);
  // Golden values of fewer bits are compared at their own precision.
  const isNarrower = values instanceof Float32Array && data instanceof Float64Array;
  const computed = isNarrower ? Float32Array.from(data) : toNumbers(data);
  let peak = 1;
  for (let i = 0; i < golden.length; i++)
    if (Number.isFinite(golden[i])) peak = Math.max(peak, Math.abs(golden[i] as number));
  // Integers that are told exactly are computed exactly.
  const tolerance = values instanceof Float32Array || values instanceof Float64Array ? allowed * peak : 0;
  for (let i = 0; i < golden.length; i++) {
    // NaN and Infinity agree with themselves alone.
    if (Object.is(data[i], values[i]) || Object.is(computed[i], golden[i])) continue;
    const difference = Math.abs((computed[i] as number) - (golden[i] as number));
    if (!(difference <= tolerance))
      throw new Error(`output ${name}[${i}] is ${data[i]}, golden ${values[i]} (tolerance ${tolerance})`);
    if (difference > largest) largest = difference;
  }
  return largest;
}

function demandSame(name: string, values: Elements, data: Elements): void {
  if (!areStrings(values) || !areStrings(data))
    throw new Error(`output ${name}: golden strings are text, not raw float32`);
  const wrong = values.findIndex((text, i) => Buffer.compare(text, data[i] as Uint8Array) !== 0);
  if (wrong < 0) return;
  const [is, golden] = [data, values].map((texts) =>
    JSON.stringify(Buffer.from(texts[wrong] as Uint8Array).toString()),
  );
  throw new Error(`output ${name}[${wrong}] is ${is}, golden ${golden}`);
}

/** Returns the golden outputs of an instance, by name. */
async function expectedOf(
  { signature, ...manifest }: Manifest,
  row: Golden['outputs'][number],
): Promise<Record<string, Elements>> {
  const expected: Record<string, Elements> = {};
  for (const [name, value] of Object.entries(row)) {
    const { dtype, shape } = signature.outputs.find((each) => each.name === name) ?? NUMBERS;
    if (dtype !== 'string' && has(value, 'b64')) {
      expected[name] = toTypedArray('float32', Buffer.from(String(value.b64), 'base64'));
      continue;
    }
    // In the form of an input, so that an input's encoder reads it.
    const inputs = [{ name, dtype, shape }];
    const encoder = createInputEncoder({ ...manifest, signature: { ...signature, inputs } }, readImageHeader);
    const [encoded] = await encoder.encode([{ [name]: value }]);
    expected[name] = toElements(dtype as Dtype, encoded?.[name]?.data as Uint8Array);
  }
  return expected;
}

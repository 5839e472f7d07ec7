/**
 * Golden vectors: instances as a caller sends them, beside the raw float32 that the model must compute for them.
 *
 * They catch what a checksum cannot catch: a backend or a library that computes something else from the same bytes.
 */
import { readFile } from 'node:fs/promises';
import type { Golden, Manifest } from '../../../shared/contract/models/manifest.js';
import { createInputEncoder } from '../../../shared/contract/tensors/input.js';
import { type Instance, toTypedArray } from '../../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../../shared/images/image.js';
import type { BatchTensors } from '../../backends/backend.js';
import { containedPath } from './verified-files.js';

/**
 * A version serves while |computed - golden| is at most this, for an output whose golden values stay within ±1. Where they are
 * larger, the tolerance grows in proportion to the largest of them, because a float32 sum over 0…255 differs by more between
 * correct backends. That holds for dark pixels of such an output, too.
 */
export const GOLDEN_TOLERANCE = 1e-4;

export interface GoldenVectors {
  instances: Instance[];
  /** The expected values of each instance, by output name. */
  outputs: Record<string, Float32Array>[];
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
    outputs: golden.outputs.map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, { b64 }]) => [name, floatsOf(b64)])),
    ),
  };
}

/**
 * Returns the largest difference between a computed row and its golden one. Throws when it is above the tolerance, or when the
 * two cannot be compared.
 * @param allowed is the tolerance for values within ±1.
 */
export function compareGolden(
  expected: Record<string, Float32Array>,
  computed: BatchTensors,
  allowed = GOLDEN_TOLERANCE,
): number {
  let largest = 0;
  for (const [name, values] of Object.entries(expected)) {
    const data = computed[name]?.data;
    if (data?.length !== values.length) {
      throw new Error(`output ${name} has ${data?.length ?? 'no'} elements, golden ${values.length}`);
    }
    const finite = values.filter(Number.isFinite);
    const tolerance = allowed * finite.reduce((peak, value) => Math.max(peak, Math.abs(value)), 1);
    for (let i = 0; i < values.length; i++) {
      // NaN and Infinity agree with themselves alone.
      if (Object.is(data[i], values[i])) continue;
      const difference = Math.abs((data[i] as number) - (values[i] as number));
      if (!(difference <= tolerance)) {
        throw new Error(`output ${name}[${i}] is ${data[i]}, golden ${values[i]} (tolerance ${tolerance})`);
      }
      if (difference > largest) largest = difference;
    }
  }
  return largest;
}

function floatsOf(b64: string): Float32Array {
  return toTypedArray('float32', Buffer.from(b64, 'base64')) as Float32Array;
}

/**
 * The weights that a tfjs model.json names, and the bytes that they take in its files.
 *
 * These checks find a missing or truncated file by its name. tfjs would fail while it loads, without saying which file or why.
 */

import type { Fault } from '../contract/errors.js';
import type { VersionFiles } from '../contract/models/manifest.js';
import { plainPath } from '../contract/models/package-path.js';
import { escapePointer } from '../contract/schema.js';
import { elementsOf } from '../contract/tensors/tensor.js';
import { MODEL_FILE, readModelFile } from './tfjs-ports.js';

export interface Weight {
  name: string;
  shape: number[];
  dtype: string;
  quantization?: { dtype: string; scale?: number; min?: number; original_dtype?: string };
}

/** The part of a model.json that describes weights. */
export interface ModelFile {
  weightsManifest: { paths: string[]; weights: Weight[] }[];
}

const BYTES: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  bool: 1,
  uint8: 1,
  uint16: 2,
  float16: 2,
};

/** Returns the bytes of one element in the file. Undefined for texts, whose lengths vary, and for types that tfjs does not know. */
export function widthOf({ dtype, quantization }: Weight): number | undefined {
  return BYTES[quantization?.dtype ?? dtype];
}

/**
 * Returns a fault for a malformed list of weights, and for every weights file that is missing or has another size than stated.
 * @param model is the parsed model.json; the topology check reports its other faults.
 * @param sizes holds the bytes of each file that exists, by path.
 */
export function weightFaults(model: unknown, sizes: ReadonlyMap<string, number>): Fault[] {
  const groups = (model as Partial<ModelFile> | null)?.weightsManifest ?? [];
  if (!Array.isArray(groups) || !groups.every(isGroup))
    return [{ path: `/${MODEL_FILE}/weightsManifest`, message: 'must be a list of {paths, weights}' }];
  return groups.flatMap(({ paths: named, weights }) => {
    const paths = named.map(plainPath);
    const missing = paths.filter((path) => !sizes.has(path));
    if (missing.length > 0)
      return missing.map((path) => fault(path, `is named by ${MODEL_FILE} and is not there`));
    const stated = weights.reduce(
      (sum, each) => sum + elementsOf(each.shape) * (widthOf(each) ?? Number.NaN),
      0,
    );
    const found = paths.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0);
    if (found === stated || Number.isNaN(stated)) return [];
    const them = paths.length > 1 ? ` (${paths.length} files from here)` : '';
    return [fault(paths[0] ?? '', `has ${found} bytes${them}, the weights in ${MODEL_FILE} take ${stated}`)];
  });
}

/**
 * Returns about how many bytes a loaded version takes: the size of its files or 4 bytes for each element, whichever is more,
 * because tfjs keeps small types as 4 bytes too.
 */
export async function loadedBytes(folder: string, { manifest, sizeBytes }: VersionFiles): Promise<number> {
  if (manifest.format === 'saved_model' || manifest.format === 'onnx') return sizeBytes;
  const { weightsManifest: groups = [] } = await readModelFile(folder);
  if (!Array.isArray(groups) || !groups.every(isGroup)) return sizeBytes;
  const weights = groups.flatMap((group) => group.weights);
  return Math.max(
    sizeBytes,
    weights.reduce((sum, each) => sum + 4 * elementsOf(each.shape), 0),
  );
}

function fault(path: string, message: string): Fault {
  return { path: `/${escapePointer(path)}`, message };
}

function isGroup(value: unknown): value is ModelFile['weightsManifest'][number] {
  const { paths, weights } = (value ?? {}) as Partial<ModelFile['weightsManifest'][number]>;
  return (
    Array.isArray(paths) &&
    paths.every((path) => typeof path === 'string') &&
    Array.isArray(weights) &&
    weights.every((weight) => Array.isArray(weight?.shape) && weight.shape.every(Number.isInteger))
  );
}

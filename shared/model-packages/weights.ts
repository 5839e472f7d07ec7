/**
 * The weights that a model.json of tfjs names, and how many bytes they take in its files.
 *
 * What is missing or cut short is found here by name; tfjs would find it while it loads, and say neither which nor why.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fault } from '../contract/errors.js';
import type { VersionFiles } from '../contract/model.js';
import { escapePointer } from '../contract/schema.js';
import { MODEL_FILE } from './manifest.js';

export interface Weight {
  name: string;
  shape: number[];
  dtype: string;
  quantization?: { dtype: string; scale?: number; min?: number; original_dtype?: string };
}

/** The part of a model.json that is about weights. */
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

export function elementsOf({ shape }: Weight): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of an element as the file has it; undefined for texts, whose lengths vary, and for what tfjs does not know. */
export function widthOf({ dtype, quantization }: Weight): number | undefined {
  return BYTES[quantization?.dtype ?? dtype];
}

/** `sizes`: of the files that are there, by path. A model.json that is none is found by who reads it for what it is. */
export function weightFaults(model: unknown, sizes: ReadonlyMap<string, number>): Fault[] {
  const groups = (model as Partial<ModelFile> | null)?.weightsManifest ?? [];
  if (!Array.isArray(groups) || !groups.every(isGroup))
    return [{ path: `/${MODEL_FILE}/weightsManifest`, message: 'must be a list of {paths, weights}' }];
  return groups.flatMap(({ paths, weights }) => {
    const missing = paths.filter((path) => !sizes.has(path));
    if (missing.length > 0)
      return missing.map((path) => fault(path, `is named by ${MODEL_FILE} and is not there`));
    const stated = weights.reduce((sum, each) => sum + elementsOf(each) * (widthOf(each) ?? Number.NaN), 0);
    const found = paths.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0);
    if (found === stated || Number.isNaN(stated)) return [];
    const them = paths.length > 1 ? ` (${paths.length} files from here)` : '';
    return [fault(paths[0] ?? '', `has ${found} bytes${them}, the weights in ${MODEL_FILE} take ${stated}`)];
  });
}

/** What a version takes once it is loaded, in bytes: about its files, and 4 for each weight, as tfjs keeps small ones, too. */
export async function loadedBytes(folder: string, { manifest, sizeBytes }: VersionFiles): Promise<number> {
  if (manifest.format === 'saved_model') return sizeBytes;
  const model: unknown = JSON.parse(await readFile(join(folder, MODEL_FILE), 'utf8'));
  const groups = (model as Partial<ModelFile> | null)?.weightsManifest ?? [];
  if (!Array.isArray(groups) || !groups.every(isGroup)) return sizeBytes;
  const weights = groups.flatMap((group) => group.weights);
  return Math.max(
    sizeBytes,
    weights.reduce((sum, each) => sum + 4 * elementsOf(each), 0),
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

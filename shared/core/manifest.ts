/**
 * The manifest of a version's folder: its model.yaml; without one, what a SavedModel says of itself.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { hashFile, pathsIn } from '../base/disk.js';
import { checkManifest, type Manifest, type TensorSpec } from '../contract/model.js';
import { readSavedModel, SAVED_MODEL_FILE } from './saved-model.js';

type Undescribed = Omit<Manifest, 'signature'> & { signature?: Manifest['signature'] };

export const MANIFEST_FILE = 'model.yaml';
/** Of a version that says nothing else. */
const BATCHING = { maxBatchSize: 32, maxDelayMs: 5 };

/** Throws what is wrong with it. `name` and `version` are those of the folder. */
export async function readManifest(path: string, name: string, version: number): Promise<Manifest> {
  const manifest = await withSignature(path, await readOrDerive(path, name, version));
  const fault = checkManifest(manifest);
  if (fault) throw new Error(`${fault.path || '/'} ${fault.message}`);
  if (manifest.name !== name || manifest.version !== version) {
    throw new Error(`declares ${manifest.name} version ${manifest.version}`);
  }
  return manifest;
}

async function readOrDerive(path: string, name: string, version: number): Promise<Undescribed> {
  const paths = await pathsIn(path);
  if (paths.includes(MANIFEST_FILE)) return parse(await readFile(join(path, MANIFEST_FILE), 'utf8'));
  if (!paths.includes(SAVED_MODEL_FILE)) throw new Error('is missing, and there is no SavedModel');
  const files: Record<string, string> = {};
  for (const file of paths) files[file] = await hashFile(join(path, file));
  return { name, version, format: 'saved_model', batching: BATCHING, files };
}

/** A SavedModel says itself what it takes and computes; a manifest may say so too, and more, but nothing else. */
async function withSignature(path: string, manifest: Undescribed): Promise<Manifest> {
  if (manifest?.format !== 'saved_model') return manifest as Manifest;
  const read = await readSavedModel(path);
  const declared = manifest.signature;
  if (!declared) return { ...manifest, signature: read };
  for (const kind of ['inputs', 'outputs'] as const) {
    const faults = describe(read[kind]).filter((text) => !describe(declared[kind] ?? []).includes(text));
    if (faults.length > 0 || declared[kind]?.length !== read[kind].length)
      throw new Error(`/signature/${kind} is not that of the SavedModel: ${describe(read[kind]).join(', ')}`);
  }
  return manifest as Manifest;
}

function describe(specs: readonly TensorSpec[]): string[] {
  return specs.map(
    ({ name, dtype, shape }) => `${name} ${dtype} [${shape.map((size) => size ?? '?').join(', ')}]`,
  );
}

/**
 * The folder of bundled models: <folder>/<name>/<version>/model.yaml and the files it names.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { messageOf } from '../base/errors.js';
import { checkManifest, type Manifest, type TensorSpec } from '../contract/model.js';
import { readSavedModel } from './saved-model.js';

export interface BundledVersion {
  manifest: Manifest;
  /** Folder of the version. */
  path: string;
  /** Of all files together. */
  sizeBytes: number;
}

/** Every version found, by name and number; throws an error that lists every fault of every manifest. */
export async function readModelFolder(folder: string): Promise<BundledVersion[]> {
  const found: BundledVersion[] = [];
  const faults: string[] = [];
  for (const name of await foldersIn(folder)) {
    for (const version of await foldersIn(join(folder, name))) {
      if (!/^[1-9]\d*$/.test(version)) continue;
      try {
        found.push(await readVersion(join(folder, name, version), name, Number(version)));
      } catch (error) {
        faults.push(`${name}/${version}/model.yaml: ${messageOf(error)}`);
      }
    }
  }
  if (faults.length > 0) throw new Error(`The models in ${folder} have faults:\n  ${faults.join('\n  ')}`);
  return found.sort(
    (a, b) => a.manifest.name.localeCompare(b.manifest.name) || a.manifest.version - b.manifest.version,
  );
}

async function readVersion(path: string, name: string, version: number): Promise<BundledVersion> {
  const manifest = await withSignature(path, parse(await readFile(join(path, 'model.yaml'), 'utf8')));
  const fault = checkManifest(manifest);
  if (fault) throw new Error(`${fault.path || '/'} ${fault.message}`);
  if (manifest.name !== name || manifest.version !== version) {
    throw new Error(`declares ${manifest.name} version ${manifest.version}`);
  }
  const sizes = await Promise.all(
    Object.keys(manifest.files).map(async (file) => (await stat(join(path, file))).size),
  );
  return { manifest, path, sizeBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** A SavedModel says itself what it takes and computes; a manifest may say so too, and more, but nothing else. */
async function withSignature(path: string, manifest: Manifest): Promise<Manifest> {
  if (manifest?.format !== 'saved_model') return manifest;
  const read = await readSavedModel(path);
  const declared = manifest.signature as Manifest['signature'] | undefined;
  if (!declared) return { ...manifest, signature: read };
  for (const kind of ['inputs', 'outputs'] as const) {
    const faults = describe(read[kind]).filter((text) => !describe(declared[kind] ?? []).includes(text));
    if (faults.length > 0 || declared[kind]?.length !== read[kind].length)
      throw new Error(`/signature/${kind} is not that of the SavedModel: ${describe(read[kind]).join(', ')}`);
  }
  return manifest;
}

function describe(specs: readonly TensorSpec[]): string[] {
  return specs.map(
    ({ name, dtype, shape }) => `${name} ${dtype} [${shape.map((size) => size ?? '?').join(', ')}]`,
  );
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

/**
 * The folder of bundled models: <folder>/<name>/<version>/ with a model.yaml and the files it names, or a SavedModel.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../base/config.js';
import { messageOf } from '../base/errors.js';
import type { Manifest } from '../contract/models/manifest.js';
import { MANIFEST_FILE, readManifest } from './manifest.js';

export interface BundledVersion {
  manifest: Manifest;
  /** Folder of the version. */
  path: string;
  /** Bytes of all its files. */
  sizeBytes: number;
}

/**
 * Returns every version of the folder, sorted by name and number.
 * @throws ConfigError when there is no such folder, or with every fault of every manifest.
 */
export async function readModelFolder(folder: string): Promise<BundledVersion[]> {
  const found: BundledVersion[] = [];
  const faults: string[] = [];
  for (const name of await modelsIn(folder)) {
    for (const version of await foldersIn(join(folder, name))) {
      if (!/^[1-9]\d*$/.test(version)) continue;
      try {
        found.push(await readVersion(join(folder, name, version), name, Number(version)));
      } catch (error) {
        faults.push(`${name}/${version}/${MANIFEST_FILE}: ${messageOf(error)}`);
      }
    }
  }
  if (faults.length > 0)
    throw new ConfigError(`The models in ${folder} have faults:\n  ${faults.join('\n  ')}`);
  return found.sort(
    (a, b) => a.manifest.name.localeCompare(b.manifest.name) || a.manifest.version - b.manifest.version,
  );
}

async function readVersion(path: string, name: string, version: number): Promise<BundledVersion> {
  const manifest = await readManifest(path, { name, version });
  if (manifest.name !== name || manifest.version !== version)
    throw new Error(`declares ${manifest.name} version ${manifest.version}`);
  const sizes = await Promise.all(
    Object.keys(manifest.files).map(async (file) => (await stat(join(path, file))).size),
  );
  return { manifest, path, sizeBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

async function modelsIn(folder: string): Promise<string[]> {
  return foldersIn(folder).catch((error: unknown) => {
    throw new ConfigError(`The folder of models (SLUICE_MODELS_DIR) cannot be read: ${messageOf(error)}`);
  });
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

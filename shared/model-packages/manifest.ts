/**
 * The manifest of a version's folder: its model.yaml, completed from the folder's other files.
 *
 * The place of the folder gives name and version, its content gives the list of files, the entry file gives the format, and
 * the model gives its own signature. A statement that is made twice must agree.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { hashFile, pathsIn } from '../base/disk.js';
import { messageOf } from '../base/errors.js';
import type { Fault } from '../contract/errors.js';
import { ENTRY, entryOf, type Manifest } from '../contract/models/manifest.js';
import { checkManifest } from '../contract/models/manifest-check.js';
import { isJunk } from '../contract/models/package-path.js';
import { foreignFormat } from './formats.js';
import { completeByModel } from './model-signature.js';
import { SAVED_MODEL_FILE } from './saved-model/signature.js';
import { MODEL_FILE, readModelFile } from './tfjs-ports.js';
import { formatOfTopology } from './topology.js';

export interface Given {
  /** Name and version for a model.yaml that states none; the caller decides whether it may state others. */
  name: string;
  version: number;
  /** SHA-256 in hex by path, for files whose hash is known already. */
  files?: Record<string, string>;
}

/** The faults of a model.yaml, whose paths are JSON Pointers into it, and those of the model that it describes. */
export class ManifestFault extends Error {
  constructor(
    readonly faults: readonly Fault[],
    readonly ofModel: readonly string[] = [],
    /** The file of the model that has them. */
    readonly entry = '',
  ) {
    super([...faults.map(({ path, message }) => `${path || '/'} ${message}`), ...ofModel].join('; '));
  }
}

export const MANIFEST_FILE = 'model.yaml';
/** A person wrote this file, so it is small, and it is read whole. */
const MAX_MANIFEST_BYTES = 1024 * 1024;
const FORMATS: Readonly<Record<string, Manifest['format']>> = {
  'layers-model': 'layers',
  'graph-model': 'graph',
};

/**
 * Reads and checks the manifest of the version in the folder `path`.
 * @throws ManifestFault when model.yaml is wrong, Error when another file of the folder is.
 */
export async function readManifest(path: string, given: Given): Promise<Manifest> {
  const paths = (await pathsIn(path)).filter((each) => !isJunk(each));
  const said = paths.includes(MANIFEST_FILE) ? await readSaid(join(path, MANIFEST_FILE)) : {};
  const manifest: Partial<Manifest> = {
    name: given.name,
    version: given.version,
    ...said,
  };
  manifest.format ??= await formatOf(path, paths);
  manifest.files ??= given.files ?? (await hashesOf(path, paths));
  const { completed, faults, ofModel, lacking } = await completeByModel(path, manifest);
  if (faults.length === 0 && ofModel.length === 0)
    for (const fault of checkManifest(completed))
      faults.push(lacking && fault.path === '/signature' ? { ...fault, message: lacking } : fault);
  const entry = manifest.format && entryOf(manifest.format, Object.keys(manifest.files));
  if (faults.length > 0 || ofModel.length > 0) throw new ManifestFault(faults, ofModel, entry ?? undefined);
  return completed as Manifest;
}

async function readSaid(path: string): Promise<Partial<Manifest>> {
  if ((await stat(path)).size > MAX_MANIFEST_BYTES)
    throw new ManifestFault([{ path: '', message: `is larger than ${MAX_MANIFEST_BYTES} bytes` }]);
  const said: unknown = parseYaml(await readFile(path, 'utf8'));
  if (typeof said !== 'object' || said === null || Array.isArray(said))
    throw new ManifestFault([{ path: '', message: 'must be an object' }]);
  return said;
}

function parseYaml(text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw new ManifestFault([
      { path: '', message: (messageOf(error).split('\n')[0] ?? '').replace(/:$/, '') },
    ]);
  }
}

async function formatOf(path: string, paths: readonly string[]): Promise<Manifest['format']> {
  if (paths.includes(SAVED_MODEL_FILE)) return 'saved_model';
  if (!paths.includes(MODEL_FILE)) {
    if (entryOf('onnx', paths) !== null) return 'onnx';
    const found = await foreignFormat(path, paths);
    throw new Error(found ?? `there is neither ${SAVED_MODEL_FILE} nor ${MODEL_FILE} nor ${ENTRY.onnx}`);
  }
  // tfjs writes the format near the start of the file; the topology after it may be large.
  const [, named = ''] = /"format":\s*"([a-z-]+)"/.exec(await readFile(join(path, MODEL_FILE), 'utf8')) ?? [];
  const format = FORMATS[named] ?? formatOfTopology((await readModelFile(path)).modelTopology);
  if (!format)
    throw new ManifestFault([{ path: '/format', message: `is required: ${MODEL_FILE} does not tell` }]);
  return format;
}

async function hashesOf(path: string, paths: readonly string[]): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const file of paths)
    if (file !== MANIFEST_FILE)
      files[file] = await hashFile(join(path, file)).catch((error: unknown) => {
        throw new Error(`${file} cannot be read: ${messageOf(error)}`);
      });
  return files;
}

/**
 * The manifest of an uploaded version, checked against the files that came with it.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../base/errors.js';
import type { StoredBlob } from '../../blobs/blobs.js';
import { type Fault, invalid } from '../../contract/errors.js';
import type { Manifest } from '../../contract/models/manifest.js';
import { escapePointer } from '../../contract/schema.js';
import { MANIFEST_FILE, ManifestFault, readManifest } from '../../model-packages/manifest.js';
import { MODEL_FILE } from '../../model-packages/tfjs-ports.js';
import { checkTopology } from '../../model-packages/topology.js';
import { weightFaults } from '../../model-packages/weights.js';

/** The files of an upload by their paths, each with its size and hash. */
export type UploadedFiles = ReadonlyMap<string, StoredBlob>;

export interface CheckedUpload {
  name: string;
  /** The version's number, unless its model.yaml states another. */
  next: number;
  /** Where the files lie. */
  folder: string;
  files: UploadedFiles;
  /** Faults that were found while the files arrived. */
  faults: readonly Fault[];
}

/**
 * Returns the manifest of the version in `folder`, complete and consistent with `files`.
 * @throws {SluiceError} `invalid_input` with every fault that is found without computing.
 */
export async function readUploadedManifest(upload: CheckedUpload): Promise<Manifest> {
  const { name, next: version, folder, files } = upload;
  const hashes: Record<string, string> = {};
  for (const [path, { sha256 }] of files) if (path !== MANIFEST_FILE) hashes[path] = sha256;
  const manifest = await readManifest(folder, { name, version, files: hashes }).catch(manifestFaults);
  const faults = [...upload.faults];
  if (Array.isArray(manifest)) faults.push(...manifest);
  else {
    if (manifest.name !== name) faults.push({ path: `/${MANIFEST_FILE}/name`, message: `must be ${name}` });
    faults.push(...fileFaults(manifest, hashes));
  }
  faults.push(...(await modelFaults(folder, files, Array.isArray(manifest) ? null : manifest)));
  if (faults.length > 0 || Array.isArray(manifest)) throw invalid(faults);
  return manifest;
}

/** Returns the faults that an error of `readManifest` tells. */
function manifestFaults(error: unknown): Fault[] {
  if (!(error instanceof ManifestFault)) return [{ path: '', message: messageOf(error) }];
  const ofModel = error.ofModel.map((message) => ({ path: `/${escapePointer(error.entry)}`, message }));
  return [...error.faults.map((fault) => ({ ...fault, path: `/${MANIFEST_FILE}${fault.path}` })), ...ofModel];
}

/** Finds weights and parts of a tfjs model that do not fit. */
async function modelFaults(
  folder: string,
  files: UploadedFiles,
  manifest: Manifest | null,
): Promise<Fault[]> {
  if (!files.has(MODEL_FILE) || manifest?.format === 'saved_model' || manifest?.format === 'onnx') return [];
  const path = `/${MODEL_FILE}`;
  let model: unknown;
  try {
    model = JSON.parse(await readFile(join(folder, MODEL_FILE), 'utf8'));
  } catch (error) {
    return [{ path, message: `is not JSON: ${messageOf(error)}` }];
  }
  const faults = weightFaults(model, sizesOf(files));
  const topology = manifest && (await checkTopology(folder, manifest).then(() => null, messageOf));
  return topology ? [...faults, { path, message: topology }] : faults;
}

/** Finds files that are listed and were not sent, that were sent and are not listed, and that have another hash. */
function fileFaults({ files, golden }: Manifest, hashes: Record<string, string>): Fault[] {
  const faults: Fault[] = [];
  for (const [path, stated] of Object.entries(files)) {
    const found = hashes[path];
    const pointer = `/${escapePointer(path)}`;
    if (!found) faults.push({ path: pointer, message: `is listed in ${MANIFEST_FILE} and was not sent` });
    else if (found !== stated)
      faults.push({ path: pointer, message: `has the sha256 ${found}, ${MANIFEST_FILE} states ${stated}` });
  }
  for (const path of Object.keys(hashes))
    if (!Object.hasOwn(files, path))
      faults.push({ path: `/${escapePointer(path)}`, message: `is not listed in ${MANIFEST_FILE}` });
  if (golden !== undefined && !Object.hasOwn(hashes, golden))
    faults.push({ path: `/${MANIFEST_FILE}/golden`, message: `${golden} was not sent` });
  return faults;
}

function sizesOf(files: UploadedFiles): Map<string, number> {
  return new Map([...files].map(([path, { sizeBytes }]) => [path, sizeBytes]));
}

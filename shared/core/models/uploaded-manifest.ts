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
import { MANIFEST_FILE, ManifestFault, MODEL_FILE, readManifest } from '../../model-packages/manifest.js';
import { checkTopology } from '../../model-packages/topology.js';
import { weightFaults } from '../../model-packages/weights.js';

/** The files of an upload by their paths, each with its size and hash. */
export type UploadedFiles = ReadonlyMap<string, StoredBlob>;

/**
 * Returns the manifest of the version in `folder`, complete and consistent with `files`.
 * @param next is the version's number, unless its model.yaml states another.
 * @throws {SluiceError} `invalid_input` with every fault that is found without computing.
 */
export async function readUploadedManifest(
  name: string,
  next: number,
  folder: string,
  files: UploadedFiles,
): Promise<Manifest> {
  const hashes: Record<string, string> = {};
  for (const [path, { sha256 }] of files) if (path !== MANIFEST_FILE) hashes[path] = sha256;
  const manifest = await readManifest(folder, { name, version: next, files: hashes }).catch(refuse);
  const faults: Fault[] = [];
  if (manifest.name !== name) faults.push({ path: `/${MANIFEST_FILE}/name`, message: `must be ${name}` });
  faults.push(...fileFaults(manifest, hashes));
  if (manifest.format !== 'saved_model' && Object.hasOwn(hashes, MODEL_FILE))
    faults.push(...weightFaults(await readModelFile(folder), sizesOf(files)));
  if (faults.length > 0) throw invalid(faults);
  await checkTopology(folder, manifest.format).catch((error: unknown) => {
    throw invalid([{ path: `/${MODEL_FILE}`, message: messageOf(error) }]);
  });
  return manifest;
}

function refuse(error: unknown): never {
  if (!(error instanceof ManifestFault)) throw invalid([{ path: '', message: messageOf(error) }]);
  throw invalid(error.faults.map((fault) => ({ ...fault, path: `/${MANIFEST_FILE}${fault.path}` })));
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

async function readModelFile(folder: string): Promise<unknown> {
  const text = await readFile(join(folder, MODEL_FILE), 'utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid([{ path: `/${MODEL_FILE}`, message: `is not JSON: ${messageOf(error)}` }]);
  }
}

function sizesOf(files: UploadedFiles): Map<string, number> {
  return new Map([...files].map(([path, { sizeBytes }]) => [path, sizeBytes]));
}

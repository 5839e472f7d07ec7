/**
 * Verified files: a version's files are trusted only after they were checked against its manifest.
 *
 * Promises: no path leads out of the version's folder, be it by `..`, by an absolute path or by a link. What systems leave in
 * folders is no file of the version. Every listed file has
 * the sha256 that the manifest states. Every file of a SavedModel is listed, because TensorFlow reads it as a folder.
 */
import { realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { hashFile, pathsIn } from '../../../shared/base/disk.js';
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { isContainedPath, isJunk } from '../../../shared/contract/models/package-path.js';

/** Resolves with the absolute path of a file of the version; rejects when it is missing or lies elsewhere. */
export async function containedPath(folder: string, path: string): Promise<string> {
  if (!isContainedPath(path)) throw new Error(`${JSON.stringify(path)} is not a path inside the folder`);
  const root = await realpath(folder);
  const wanted = join(root, path);
  const found = await realpath(wanted).catch((error) => {
    throw new Error(`${path} cannot be read: ${messageOf(error)}`);
  });
  // Mounts of Kubernetes and tools of synchronisation link each file to a folder beside it.
  if (!found.startsWith(root + sep))
    throw new Error(`${path} is a link, or leads through one, that leaves the folder of the version`);
  return found;
}

/** Resolves when all files are what the manifest states; rejects at the first that is not, and names it. */
export async function verifyFiles(
  folder: string,
  { files, format }: Pick<Manifest, 'files' | 'format'>,
): Promise<void> {
  if (format === 'saved_model') await demandListed(folder, files);
  for (const [path, stated] of Object.entries(files)) {
    const found = await hashFile(await containedPath(folder, path));
    if (found !== stated) throw new Error(`${path} has the sha256 ${found}, the manifest states ${stated}`);
  }
}

async function demandListed(folder: string, files: Manifest['files']): Promise<void> {
  for (const path of await pathsIn(folder))
    if (path !== 'model.yaml' && !isJunk(path) && !Object.hasOwn(files, path))
      throw new Error(`${path} is not listed in the manifest`);
}

/**
 * A version's files, trusted only after they were checked against its manifest.
 *
 * Promises: no path leads out of the version's folder, be it by `..`, by an absolute path or by a link; every file listed has
 * the sha256 that the manifest states; of a SavedModel, which TensorFlow reads as a folder, every file is listed.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../../shared/base/errors.js';
import type { Manifest } from '../../shared/contract/model.js';

/** Plain names between single slashes: no `..`, no root, no drive, no URL. */
const PLAIN_PATH = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;

/** The absolute path of a file of the version; rejects when it is missing or lies elsewhere. */
export async function containedPath(folder: string, path: string): Promise<string> {
  if (!PLAIN_PATH.test(path)) throw new Error(`${JSON.stringify(path)} is not a path inside the folder`);
  const root = await realpath(folder);
  const wanted = join(root, path);
  const found = await realpath(wanted).catch((error) => {
    throw new Error(`${path} cannot be read: ${messageOf(error)}`);
  });
  if (found !== wanted) throw new Error(`${path} is a link or leads through one`);
  return wanted;
}

/** Rejects, naming the file, at the first that is not what the manifest states. */
export async function verifyFiles(
  folder: string,
  { files, format }: Pick<Manifest, 'files' | 'format'>,
): Promise<void> {
  if (format === 'saved_model') await demandListed(folder, files);
  for (const [path, stated] of Object.entries(files)) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(await containedPath(folder, path)), hash);
    const found = hash.digest('hex');
    if (found !== stated) throw new Error(`${path} has the sha256 ${found}, the manifest states ${stated}`);
  }
}

async function demandListed(folder: string, files: Manifest['files']): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = relative(folder, join(entry.parentPath, entry.name));
    if (!entry.isDirectory() && path !== 'model.yaml' && !Object.hasOwn(files, path))
      throw new Error(`${path} is not listed in the manifest`);
  }
}

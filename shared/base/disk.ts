/**
 * Folders and files on disk: their hashes, their paths, and folders that a process makes when it starts.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, statSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ConfigError } from './config.js';
import { messageOf } from './errors.js';

const PRIVATE_MODE = 0o700;

/** Returns the SHA-256 of a file in hex. The file is read as a stream, so its size does not matter. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Returns the sorted relative paths of all entries below a folder that are not folders. Links are listed, never followed. */
export async function pathsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

/** True when the path leads to something; a path that may not be read counts as missing. */
export function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Deletes the entries of a folder that were last modified more than `ageMs` before `nowMs` (milliseconds since the Unix epoch),
 * folders with their content. Returns how many. It leaves an entry that vanishes meanwhile or cannot be read.
 *
 * @throws Error of the file system when the folder cannot be listed or an entry cannot be deleted
 */
export async function removeStale(folder: string, nowMs: number, ageMs: number): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => null);
    if (!found || nowMs - found.mtimeMs <= ageMs) continue;
    await rm(path, { recursive: true, force: true });
    removed++;
  }
  return removed;
}

/** Error codes that do not go away by themselves. A full disk is not one of them. */
const IMPOSSIBLE: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'EEXIST', 'EACCES', 'EPERM', 'EROFS']);

/**
 * Makes a folder and its parents, readable by its owner alone, for a process that starts.
 * @param setting names the variable that chooses another place, for the text of the error.
 * @throws ConfigError when the folder can never be made, because the process must not run without it.
 */
export function makeOwnFolder(folder: string, setting: string): void {
  try {
    makeFolder(folder);
  } catch (error) {
    if (!IMPOSSIBLE.has((error as NodeJS.ErrnoException).code)) throw error;
    throw new ConfigError(
      `The folder ${folder} cannot be made: ${messageOf(error)}. ${setting} names another place.`,
    );
  }
}

/** Node's `recursive` option never returns on a file system that answers ENOENT to every mkdir, as /proc does. */
function makeFolder(path: string): void {
  const parent = dirname(path);
  if (!existsSync(parent)) makeFolder(parent);
  try {
    mkdirSync(path, { mode: PRIVATE_MODE });
  } catch (error) {
    // The folder existed, or another process made it first.
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}

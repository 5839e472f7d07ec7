/**
 * Files of a folder, and what is in them.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, statSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ConfigError } from './config.js';
import { messageOf } from './errors.js';

const PRIVATE_MODE = 0o700;

/** SHA-256 in hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Whatever lies in a folder, at any depth, and is no folder itself: paths inside it, sorted. Links are not followed. */
export async function pathsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

export function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** What a file system says that will not be another way by itself; that it is full, say, may be. */
const IMPOSSIBLE: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'EEXIST', 'EACCES', 'EPERM', 'EROFS']);

/** A folder inside the data folder, with its parents, for a process that starts: it must not run where that cannot be. */
export function makeDataFolder(dataDir: string, folder: string): void {
  try {
    makeFolder(folder);
  } catch (error) {
    if (!IMPOSSIBLE.has((error as NodeJS.ErrnoException).code)) throw error;
    throw new ConfigError(`The folder SLUICE_DATA_DIR=${dataDir} cannot be made: ${messageOf(error)}`);
  }
}

/** Node's own, with `recursive`, never ends where a file system takes no folders and calls that ENOENT, as /proc does. */
function makeFolder(path: string): void {
  const parent = dirname(path);
  if (!existsSync(parent)) makeFolder(parent);
  try {
    mkdirSync(path, { mode: PRIVATE_MODE });
  } catch (error) {
    // It was there, or another process was faster.
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}

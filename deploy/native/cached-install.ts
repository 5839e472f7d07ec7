/**
 * Cached installs: what fills a folder of the cache, and tells on the terminal what it does.
 *
 * States of such a folder: absent -> being made under another name -> installed (one rename). An install that is cut off
 * leaves the folder as it was, and a later one removes what was half made.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { systemClock } from '../../shared/base/clock.js';
import { type FileSizes, RECORD_FILE } from '../../shared/native/installed-files.js';

export interface CachedInstall {
  cacheDir: string;
  /** The folder's name in the cache. */
  name: string;
  /** Returns why the folder cannot be used; null when it can. */
  fault(): string | null;
  /** Fills the folder `draft`, and resolves with what its record says beside the files. */
  make(draft: string): Promise<object>;
}

/** A half-made folder that has not been touched for so long belongs to an install that was cut off. */
const ABANDONED_MS = 6 * 3600 * 1000;

/** Makes the folder and puts it in its place; its record names the size of each file. */
export async function installInCache(install: CachedInstall): Promise<void> {
  const { cacheDir, name } = install;
  mkdirSync(cacheDir, { recursive: true });
  removeAbandoned(cacheDir, name);
  // mkdtemp would make a folder for this user alone, and a worker may run as another.
  const draft = join(cacheDir, `.${name}-${randomUUID().slice(0, 8)}`);
  mkdirSync(draft);
  try {
    const record = await install.make(draft);
    const text = JSON.stringify({ ...record, files: sizesIn(draft) }, null, 2);
    writeFileSync(join(draft, RECORD_FILE), `${text}\n`);
    publish(draft, install);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Tells what begins and how it ended, and resolves with what `act` resolves to. */
export async function step<T>(
  what: string,
  act: () => Promise<T>,
  outcome?: (value: T) => string,
): Promise<T> {
  say(`- ${what} …`);
  const start = systemClock.monotonic();
  const value = await act();
  const seconds = ((systemClock.monotonic() - start) / 1000).toFixed(1);
  say(`  ${outcome ? outcome(value) : 'done'}, ${seconds} s`);
  return value;
}

/** Writes a line for the one who installs. */
export function say(line: string): void {
  console.log(line);
}

/** Returns the megabytes that files take. */
export function megabytes(files: readonly string[]): number {
  return Math.round(files.reduce((sum, file) => sum + statSync(file).size, 0) / 1e6);
}

/** Puts the finished folder in its place. A faulty one makes way; a good one stays, because another install was faster. */
function publish(draft: string, { cacheDir, name, fault }: CachedInstall): void {
  if (fault() === null) return;
  const place = join(cacheDir, name);
  const old = `${draft}.old`;
  try {
    renameSync(place, old);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  renameSync(draft, place);
  rmSync(old, { recursive: true, force: true });
}

function removeAbandoned(cacheDir: string, name: string): void {
  for (const each of readdirSync(cacheDir)) {
    const path = join(cacheDir, each);
    if (each.startsWith(`.${name}-`) && systemClock.now() - statSync(path).mtimeMs > ABANDONED_MS)
      rmSync(path, { recursive: true, force: true });
  }
}

function sizesIn(root: string): FileSizes {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [relative(root, path), statSync(path).size]));
}

/**
 * Installed files: whether a folder of libraries still holds what an install has put there.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';

/** The record that an install writes last, at the root of its folder. */
export const RECORD_FILE = 'installed.json';

/** Size in bytes by path relative to the root. */
export type FileSizes = Record<string, number>;

/** Returns which file is missing or was changed; null when none is. It compares sizes, not contents, which takes milliseconds. */
export function faultOfFiles(root: string, files: FileSizes): string | null {
  const wrong = Object.entries(files).find(
    ([path, size]) => statSync(join(root, path), { throwIfNoEntry: false })?.size !== size,
  );
  return wrong ? `${wrong[0]} is missing or was changed` : null;
}

/**
 * The folder for what was fetched or built once, where nobody has chosen one.
 */
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Users without a home get this folder, beside the data. */
const WITHOUT_HOME = join('.sluice', 'cache');

/**
 * Returns the cache folder in the user's home. Users such as `nobody` have no home that is there and may be written, and a
 * user that a container invents has none at all.
 */
export function defaultCacheFolder(home: () => string = homedir): string {
  let folder: string;
  try {
    folder = join(home(), '.cache', 'sluice');
  } catch {
    return WITHOUT_HOME;
  }
  const places = [folder, join(folder, '..'), join(folder, '..', '..')];
  return places.some(isWritable) ? folder : WITHOUT_HOME;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

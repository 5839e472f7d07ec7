/**
 * Packages as npm has installed them, and what they declare to need.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** An entry of npm's list; its key is the folder. */
interface Installed {
  /** Set in the entry of a link: the folder to which it leads. */
  link?: boolean;
  resolved?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

type Entries = Readonly<Record<string, Installed>>;

/** The list that npm keeps beside the packages; it is read from the folder of the tree. */
const LIST = 'node_modules/.package-lock.json';

/**
 * Returns the folders of these packages and of all that they depend on, as `npm ci` has put them. Optional ones and peers are
 * among them where they were installed.
 * @throws Error for a package that is not installed
 */
export function packagesWith(names: readonly string[]): string[] {
  const entries = (JSON.parse(readFileSync(LIST, 'utf8')) as { packages: Entries }).packages;
  const taken = new Set<string>();
  const take = (name: string, user: string, isNeeded: boolean) => {
    const folder = folderOf(entries, name, user);
    if (folder === null && isNeeded)
      throw new Error(`${name}, which ${user || 'Sluice'} needs, is not installed.`);
    if (folder === null || taken.has(folder)) return;
    taken.add(folder);
    const entry = entries[folder];
    const about = entry?.link ? entries[entry.resolved ?? ''] : entry;
    const optional = { ...about?.optionalDependencies, ...about?.peerDependencies };
    for (const each of Object.keys(about?.dependencies ?? {})) take(each, folder, !(each in optional));
    for (const each of Object.keys(optional)) take(each, folder, false);
  };
  for (const name of names) take(name, '', true);
  return [...taken];
}

/** Returns where Node finds a package for its user: in the user's own folder, else in one above. */
function folderOf(entries: Entries, name: string, user: string): string | null {
  const folder = join(user, 'node_modules', name);
  if (folder in entries) return folder;
  if (user === '') return null;
  return folderOf(entries, name, user.slice(0, Math.max(0, user.lastIndexOf('node_modules') - 1)));
}

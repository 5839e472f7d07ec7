/**
 * The paths of files inside the folder of a version, as uploads claim them, manifests list them and folders hold them.
 */

/** No `..`, no root, no drive, no URL, nothing hidden; else whatever a person may call a file, such as `my weights (1).bin`. */
const NAME = '[^\\s./\\\\:*?"<>|\\p{C}][^/\\\\:*?"<>|\\p{C}]*';
export const PATH = `^${NAME}(/${NAME})*$`;

const PATH_RULE = new RegExp(PATH, 'u');
const MAX_PATH_BYTES = 1024;
/** The longest name that file systems take. */
const MAX_NAME_BYTES = 255;

/** Tells whether `text` is the path of a file inside the folder of a version. */
export function isContainedPath(text: string): boolean {
  const bytesOf = (part: string) => new TextEncoder().encode(part).length;
  return (
    PATH_RULE.test(text) &&
    bytesOf(text) <= MAX_PATH_BYTES &&
    text.split('/').every((name) => bytesOf(name) <= MAX_NAME_BYTES)
  );
}

/** Names of what systems and tools leave in folders, beside hidden files: macOS, Windows, Synology, file systems. */
const JUNK: ReadonlySet<string> = new Set([
  '__MACOSX',
  '__pycache__',
  '@eaDir',
  'Thumbs.db',
  'desktop.ini',
  'lost+found',
]);

/** Tells whether a path leads to a file that no model consists of: a hidden one, or what a system or a tool has left there. */
export function isJunk(path: string): boolean {
  return path.split('/').some((name) => JUNK.has(name) || /^\.(?!\.?$)/.test(name));
}

/** Returns `path` without the `.` and the doubled slashes that tar, browsers and scripts put into the names of files. */
export function plainPath(path: string): string {
  const parts = path.split('/');
  const isSaid = (part: string, i: number) =>
    part !== '.' && (part !== '' || i === 0 || i === parts.length - 1);
  return parts.filter(isSaid).join('/');
}

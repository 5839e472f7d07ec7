/**
 * The folder of bundled models: <folder>/<name>/<version>/ with the files of a version. Links to folders are followed.
 *
 * An entry that is no model, such as what a file system or a tool has left there, is passed over. What looks like one and cannot
 * be served is told, and keeps no other from being served.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../base/config.js';
import { messageOf } from '../base/errors.js';
import { entryOf, type Manifest } from '../contract/models/manifest.js';
import { isModelName } from '../contract/models/model-ref.js';
import { isJunk } from '../contract/models/package-path.js';
import { SAVED_MODEL_TEXT } from './formats.js';
import { MANIFEST_FILE, ManifestFault, readManifest } from './manifest.js';
import { SAVED_MODEL_FILE } from './saved-model/signature.js';
import { MODEL_FILE } from './tfjs-ports.js';

export interface BundledVersion {
  manifest: Manifest;
  /** Folder of the version. */
  path: string;
  /** Bytes of all its files. */
  sizeBytes: number;
}

/** A version that cannot be served. */
export interface FaultyVersion {
  name: string;
  /** Null where the fault is of the whole model, or the number is none that a version can have. */
  version: number | null;
  /** Its place in the folder, and all that is wrong with it. */
  why: string;
}

export interface ModelFolder {
  /** The versions, sorted by name and number. */
  versions: BundledVersion[];
  faulty: FaultyVersion[];
  /** Folders that are not taken for versions, though somebody may have meant them so. */
  notices: string[];
}

const VERSION = /^[1-9]\d*$/;
/** Names such as v1, 0.1, 007 and 0, by which other servers and people call versions. */
const LIKE_A_VERSION = /^v?\d[\d._-]*$/i;
const MARKS = [SAVED_MODEL_FILE, SAVED_MODEL_TEXT, MODEL_FILE, MANIFEST_FILE];

/**
 * Reads every version of the folder.
 * @throws ConfigError when the folder cannot be read.
 */
export async function readModelFolder(folder: string): Promise<ModelFolder> {
  const names = await foldersIn(folder).catch((error: unknown) => {
    throw new ConfigError(
      `The folder of models cannot be read: ${messageOf(error)}. SLUICE_MODELS_DIR names another.`,
    );
  });
  const read: ModelFolder = { versions: [], faulty: [], notices: [] };
  for (const name of names) {
    try {
      await readModel(folder, name, read);
    } catch (error) {
      const why = `${name} cannot be read: ${messageOf(error)}`;
      if (isModelName(name)) read.faulty.push({ name, version: null, why });
      else read.notices.push(why);
    }
  }
  read.versions.sort(
    (a, b) => a.manifest.name.localeCompare(b.manifest.name) || a.manifest.version - b.manifest.version,
  );
  return read;
}

async function readModel(folder: string, name: string, read: ModelFolder): Promise<void> {
  const place = join(folder, name);
  const entries = await foldersIn(place);
  const numbers = entries.filter((entry) => VERSION.test(entry));
  if (!isModelName(name)) {
    if (numbers.length > 0)
      read.notices.push(`${name} is no name for a model: lower-case letters, digits, "-" and "_" make one`);
    return;
  }
  if (await holdsModel(place)) read.notices.push(`${name} holds a model itself: move its files to ${name}/1`);
  for (const entry of entries) {
    if (VERSION.test(entry)) {
      try {
        read.versions.push(await readVersion(join(place, entry), name, Number(entry)));
      } catch (error) {
        const version = Number.isSafeInteger(Number(entry)) ? Number(entry) : null;
        const file = error instanceof ManifestFault ? `/${MANIFEST_FILE}` : '';
        // Callers of the API read it, and the place of the folder on this machine is none of their business.
        const why = messageOf(error).replaceAll(`${join(place, entry)}/`, '');
        read.faulty.push({ name, version, why: `${name}/${entry}${file}: ${why}` });
      }
    } else if (LIKE_A_VERSION.test(entry) || (await holdsModel(join(place, entry))))
      read.notices.push(`${name}/${entry} is no version: versions are folders called 1, 2, 3 and so on`);
  }
}

async function readVersion(path: string, name: string, version: number): Promise<BundledVersion> {
  const manifest = await readManifest(path, { name, version });
  if (manifest.name !== name || manifest.version !== version)
    throw new Error(`declares ${manifest.name} version ${manifest.version}`);
  const sizes = await Promise.all(
    Object.keys(manifest.files).map(async (file) => (await stat(join(path, file))).size),
  );
  return { manifest, path, sizeBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

async function holdsModel(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((): string[] => []);
  return MARKS.some((mark) => names.includes(mark)) || entryOf('onnx', names) !== null;
}

/** Returns the names of the folders in a folder, and of links to folders. A link that leads nowhere is none. */
async function foldersIn(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => !isJunk(name)).sort();
  const found = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        (entry) => entry.isDirectory(),
        () => false,
      ),
    ),
  );
  return names.filter((_, i) => found[i]);
}

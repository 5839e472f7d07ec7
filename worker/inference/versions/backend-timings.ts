/**
 * Backend timings: which backend was fastest for a version on this machine, kept in a file of the cache.
 *
 * An entry is for one version and one kind of machine with what is installed there. So backends are timed once, and again
 * where another backend can be used. Delete the file to have them timed anew. The file keeps the newest `MOST_KEPT`.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { versionKey } from '../../../shared/contract/models/model-ref.js';
import { FLAVOURS, homeName, nativeHome } from '../../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../backends/backend.js';
import type { Speed } from '../protocol/messages.js';

/** A comparison tells for each backend how fast the version is there at each batch size, or why it was not timed. */
export type Comparison = Partial<Record<BackendName, Speed[] | string>>;

export interface FastestBackend {
  backend: BackendName;
  comparison: Comparison;
}

export interface BackendTimings {
  /** Returns null while nothing is known. */
  get(manifest: Manifest): FastestBackend | null;
  /** Keeps the result of a comparison. A file that cannot be written costs another comparison, nothing else. */
  set(manifest: Manifest, fastest: FastestBackend): void;
}

/** A timing depends on the equipment, besides the machine's processors and the libraries installed. */
export interface Equipment {
  /** How many children each backend has, where that was configured. */
  childCount?: number | undefined;
  gpus?: readonly string[];
  /** Where libraries lie that are not in the folder of the timings. */
  librariesDir?: string;
}

const FILE = 'backend-choices.json';
const MOST_KEPT = 1000;

/** Returns the timings kept in `cacheDir`; `onError` hears why they could not be written. */
export function openBackendTimings(
  cacheDir: string,
  onError: (error: unknown) => void,
  { childCount, gpus = [], librariesDir = cacheDir }: Equipment = {},
): BackendTimings {
  const path = join(cacheDir, FILE);
  const [cpu] = cpus();
  const machine = [
    `${cpus().length} × ${cpu?.model ?? 'unknown'}`,
    ...(childCount ? [`${childCount} children`] : []),
    ...(gpus.length > 0 ? [`${gpus.length} GPUs`] : []),
    ...FLAVOURS.filter((flavour) => existsSync(nativeHome(librariesDir, flavour).manifest)).map(homeName),
  ].join(', ');

  function entryOf({ name, version, files, batching }: Manifest): string {
    const hash = createHash('sha256')
      .update(JSON.stringify([files, batching]))
      .digest('hex')
      .slice(0, 16);
    return `${versionKey(name, version)} ${hash} on ${machine}`;
  }

  function read(): Record<string, FastestBackend> {
    try {
      return JSON.parse(readFileSync(path, 'utf8')) as Record<string, FastestBackend>;
    } catch {
      return {};
    }
  }

  return {
    get: (manifest) => read()[entryOf(manifest)] ?? null,
    set(manifest, fastest) {
      try {
        mkdirSync(cacheDir, { recursive: true });
        const draft = `${path}.${process.pid}`;
        const entry = entryOf(manifest);
        const { [entry]: _, ...others } = read();
        const kept = [...Object.entries(others), [entry, fastest]].slice(-MOST_KEPT);
        writeFileSync(draft, `${JSON.stringify(Object.fromEntries(kept), null, 1)}\n`);
        renameSync(draft, path);
      } catch (error) {
        onError(error);
      }
    },
  };
}

/**
 * Backends that were chosen by measurement, kept in a file of the cache for each version and each kind of machine with what is
 * installed there: timing is done once, and again where another backend can be used. Delete the file to have it done anew.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { FLAVOURS, homeName, nativeHome } from '../../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../backends/backend.js';
import type { Speed } from '../protocol/messages.js';

/** By backend: how fast a version is there at each working batch size, or why it is not. */
export type Comparison = Partial<Record<BackendName, Speed[] | string>>;

export interface Choice {
  backend: BackendName;
  comparison: Comparison;
}

export interface Choices {
  /** Null while nothing is known. */
  get(manifest: Manifest): Choice | null;
  /** A file that cannot be written costs another timing, nothing else. */
  set(manifest: Manifest, choice: Choice): void;
}

const FILE = 'backend-choices.json';

export interface Equipment {
  /** Of each backend, where it was configured. */
  children?: number | undefined;
  gpus?: readonly string[];
}

export function openChoices(
  cacheDir: string,
  onError: (error: unknown) => void,
  { children, gpus = [] }: Equipment = {},
): Choices {
  const path = join(cacheDir, FILE);
  const [cpu] = cpus();
  const machine = [
    `${cpus().length} × ${cpu?.model ?? 'unknown'}`,
    ...(children ? [`${children} children`] : []),
    ...(gpus.length > 0 ? [`${gpus.length} GPUs`] : []),
    ...FLAVOURS.filter((flavour) => existsSync(nativeHome(cacheDir, flavour).manifest)).map(homeName),
  ].join(', ');
  const keyOf = ({ name, version, files, batching }: Manifest) => {
    const hash = createHash('sha256')
      .update(JSON.stringify([files, batching]))
      .digest('hex')
      .slice(0, 16);
    return `${name}@${version} ${hash} on ${machine}`;
  };

  function read(): Record<string, Choice> {
    try {
      return JSON.parse(readFileSync(path, 'utf8')) as Record<string, Choice>;
    } catch {
      return {};
    }
  }

  return {
    get: (manifest) => read()[keyOf(manifest)] ?? null,
    set(manifest, choice) {
      try {
        mkdirSync(cacheDir, { recursive: true });
        const draft = `${path}.${process.pid}`;
        writeFileSync(draft, `${JSON.stringify({ ...read(), [keyOf(manifest)]: choice }, null, 1)}\n`);
        renameSync(draft, path);
      } catch (error) {
        onError(error);
      }
    },
  };
}

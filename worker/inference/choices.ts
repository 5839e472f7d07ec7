/**
 * Backends that were chosen by measurement, kept in a file of the cache for each version, kind of machine and number of
 * children: timing is done once. Delete the file to have it done again.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Manifest } from '../../shared/contract/model.js';
import type { BackendName } from '../backend/backend.js';
import type { Speed } from './messages.js';

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

/** `children`: of each backend, where it was configured. */
export function openChoices(cacheDir: string, onError: (error: unknown) => void, children?: number): Choices {
  const path = join(cacheDir, FILE);
  const [cpu] = cpus();
  const machine = `${cpus().length} × ${cpu?.model ?? 'unknown'}${children ? `, ${children} children` : ''}`;
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

/**
 * Expected versions: what one child has loaded, and what its successor loads again.
 *
 *   expected -> loaded again by each new child          expected -> lost: the child refused it, or children died of it
 *
 * A version that is lost costs the others nothing.
 */
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { versionKey } from '../../../shared/contract/models/model-ref.js';
import { CallFailed } from '../../process/pending-calls.js';
import type { ChildCalls } from './child-calls.js';

export interface ExpectedVersionsDeps {
  calls: Pick<ChildCalls, 'load' | 'unload'>;
  /** Returns whether the child was told to end, which is no fault of a version. */
  isClosing: () => boolean;
  /** The version could not be loaded again; it is not expected any more. */
  onLost: (manifest: Manifest, error: unknown) => void;
}

export interface ExpectedVersions {
  has(model: string, version: number): boolean;
  /** The child has the version, or shall have it once it is up. */
  add(folder: string, manifest: Manifest): void;
  remove(model: string, version: number): void;
  /** Loads all versions into a new child; rejects when that child died, or may have. */
  loadAll(): Promise<void>;
}

interface ExpectedVersion {
  folder: string;
  manifest: Manifest;
  /** How many children died while they loaded it again, one after the other. */
  deaths: number;
}

const MAX_LOAD_DEATHS = 2;

/** Returns the versions of one child after another, none at first. */
export function createExpectedVersions({ calls, isClosing, onLost }: ExpectedVersionsDeps): ExpectedVersions {
  const versions = new Map<string, ExpectedVersion>();

  async function loadAgain(key: string, each: ExpectedVersion): Promise<void> {
    try {
      await calls.load(each.folder, each.manifest);
      each.deaths = 0;
    } catch (error) {
      if (isClosing() || !(error instanceof CallFailed)) throw error;
      if (error.suspect) each.deaths++;
      const isLost = error.code !== 'input_crashed_backend' || each.deaths >= MAX_LOAD_DEATHS;
      if (isLost && versions.delete(key)) onLost(each.manifest, error);
      if (error.code !== 'backend_error') throw error;
    }
  }

  return {
    has: (model, version) => versions.has(versionKey(model, version)),
    add(folder, manifest) {
      versions.set(versionKey(manifest.name, manifest.version), { folder, manifest, deaths: 0 });
    },
    remove(model, version) {
      versions.delete(versionKey(model, version));
    },
    /** Versions added or removed while we reload are honoured. */
    async loadAll() {
      for (const [key, each] of versions) {
        await loadAgain(key, each);
        if (!versions.has(key)) await calls.unload(each.manifest.name, each.manifest.version);
      }
    },
  };
}

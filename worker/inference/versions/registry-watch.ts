/**
 * Registry watch: what a worker serves follows the registry.
 *
 * An uploaded version is fetched and served. A retired version is removed when none of its jobs waits or runs any more. It
 * comes back for a job that turns up later, such as one whose worker died, or a line of a batch. A version that is gone is
 * removed at once.
 */
import pLimit from 'p-limit';
import type { Clock } from '../../../shared/base/clock.js';
import { versionKey } from '../../../shared/contract/models/model-ref.js';
import type { FetchedVersions } from '../../../shared/core/models/fetched-versions.js';
import type { Model, Version } from '../../../shared/core/models/model-record.js';
import type { Models } from '../../../shared/core/models/models.js';
import type { QueueStatus } from '../../../shared/core/queues/queue-status.js';
import type { BundledVersion } from '../../../shared/model-packages/model-folder.js';
import type { ServedVersions } from './served-versions.js';

export interface RegistryWatchDeps {
  models: Models;
  fetchedVersions: Pick<FetchedVersions, 'fetch' | 'release'>;
  queueStatus: QueueStatus;
  served: ServedVersions;
  bundled: readonly BundledVersion[];
  /** Returns whether this worker serves models of this name. */
  isWanted: (name: string) => boolean;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

export interface RegistryWatch {
  close(): void;
}

const PERIOD_MS = 1000;
/** Each of them may hold a child of its own. */
const MOST_ADDED = 4;
/** Retired versions are looked at again after so many periods, though the registry has not changed. */
const PERIODS_WITHOUT_CHANGE = 5;

/** Starts to follow the registry, and looks at it once a second until it is closed. */
export function watchRegistry(deps: RegistryWatchDeps): RegistryWatch {
  const { models, fetchedVersions, queueStatus, served, bundled, isWanted, clock, onError } = deps;
  const folders = new Map(
    bundled.map(({ manifest: { name, version }, path }) => [versionKey(name, version), path]),
  );
  let revision: string | null = null;
  let unchanged = 0;
  let looking = false;
  /** The keys of versions that are being fetched, checked and loaded. */
  const adding = new Set<string>();
  const inParallel = pLimit(MOST_ADDED);

  async function look(): Promise<void> {
    const now = await models.revision();
    if (now === revision && ++unchanged < PERIODS_WITHOUT_CHANGE) return;
    unchanged = 0;
    // After a failure the next look tries all versions again.
    if (await followAll()) revision = now;
  }

  /**
   * Resolves with whether every version could be followed. A fault of one, such as files that cannot be fetched now, keeps no
   * other from being followed.
   */
  async function followAll(): Promise<boolean> {
    let isComplete = true;
    const registered = await models.list();
    await removeGone(registered);
    for (const { name, versions } of registered) {
      if (!isWanted(name)) continue;
      for (const version of versions) {
        try {
          await follow(version);
        } catch (error) {
          isComplete = false;
          onError('version', error);
        }
      }
    }
    fetchedVersions.release((key) => adding.has(key) || served.keys().includes(key));
    return isComplete;
  }

  async function removeGone(registered: readonly Model[]): Promise<void> {
    const known = new Set(
      registered.flatMap(({ name, versions }) =>
        versions.map(({ manifest: { version } }) => versionKey(name, version)),
      ),
    );
    for (const key of served.keys().filter((key) => !known.has(key))) {
      const [name = '', version] = key.split('@');
      await served.remove(name, Number(version));
    }
  }

  async function follow(version: Version): Promise<void> {
    const { manifest, state, uploaded } = version;
    const { name, version: number } = manifest;
    const isServed = served.has(name, number);
    if (state === 'retired') {
      const isDrained = await queueStatus.isDrained(name, number);
      if (isDrained && isServed) await served.remove(name, number);
      if (isDrained) return;
    }
    if (isServed || served.isRefused(name, number)) return;
    const folder = folders.get(versionKey(name, number));
    if (folder === undefined && !uploaded) return;
    void add(version, folder);
  }

  /** A version that takes long to be added keeps no other waiting. After a failure the next look tries again. */
  async function add(version: Version, folder: string | undefined): Promise<void> {
    const { manifest } = version;
    const { name, version: number } = manifest;
    const key = versionKey(name, number);
    if (adding.has(key)) return;
    adding.add(key);
    try {
      if (inParallel.activeCount === MOST_ADDED)
        await models.report(name, number, 'pending', { waitingFor: 'turn' });
      await inParallel(async () => {
        if (!folder) await models.report(name, number, 'loading', { waitingFor: 'files' });
        await served.add(folder ?? (await fetchedVersions.fetch(version)), version, { apart: true });
      });
    } catch (error) {
      revision = null;
      onError('version', error);
    } finally {
      adding.delete(key);
    }
  }

  const stop = clock.every(PERIOD_MS, () => {
    if (looking) return;
    looking = true;
    look()
      .catch((error: unknown) => onError('models', error))
      .finally(() => {
        looking = false;
      });
  });
  return { close: stop };
}

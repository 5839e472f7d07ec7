/**
 * What a worker serves follows the registry: an uploaded version is fetched and served, a retired one goes when nothing of
 * it waits or runs any more, and comes back for what turns up after all (a job whose worker died, a line of a batch).
 */
import type { Clock } from '../../../shared/base/clock.js';
import type { Version } from '../../../shared/core/models/model-record.js';
import type { Models } from '../../../shared/core/models/models.js';
import type { VersionRepository } from '../../../shared/core/models/version-repository.js';
import type { QueueStatus } from '../../../shared/core/queues/queue-status.js';
import type { BundledVersion } from '../../../shared/model-packages/model-folder.js';
import type { ServedVersions } from './served-versions.js';

export interface WatchDeps {
  models: Models;
  repository: VersionRepository;
  queueStatus: QueueStatus;
  served: ServedVersions;
  bundled: readonly BundledVersion[];
  /** Whether a model of this name is for this worker. */
  isWanted: (name: string) => boolean;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

export interface Watch {
  close(): void;
}

const LOOK_MS = 1000;
/** Looks after which retired versions are looked at though nothing has changed. */
const LOOKS_A_ROUND = 5;

export function watchModels(deps: WatchDeps): Watch {
  const { models, repository, queueStatus, served, bundled, isWanted, clock, onError } = deps;
  const folders = new Map(bundled.map(({ manifest, path }) => [keyOf(manifest), path]));
  let revision: string | null = null;
  let looks = 0;
  let looking = false;

  async function look(): Promise<void> {
    const now = await models.revision();
    if (now === revision && ++looks < LOOKS_A_ROUND) return;
    looks = 0;
    const { added, failed } = await follow();
    // What went wrong is looked at again.
    if (!failed) revision = now;
    if (added) await served.settle();
  }

  /** What goes wrong with one version, such as files that cannot be fetched now, keeps none from the others. */
  async function follow(): Promise<{ added: boolean; failed: boolean }> {
    const all = { added: false, failed: false };
    for (const { name, versions } of await models.list()) {
      if (!isWanted(name)) continue;
      for (const version of versions) {
        try {
          if (await followOne(version)) all.added = true;
        } catch (error) {
          all.failed = true;
          onError('version', error);
        }
      }
    }
    return all;
  }

  /** Whether it is served since now. */
  async function followOne(version: Version): Promise<boolean> {
    const { manifest, state, uploaded } = version;
    const { name, version: number } = manifest;
    const isServed = served.has(name, number);
    if (state === 'retired') {
      const isDrained = await queueStatus.isDrained(name, number);
      if (isDrained && isServed) await served.remove(name, number);
      if (isDrained) return false;
    }
    if (isServed || served.isRefused(name, number)) return false;
    const folder = folders.get(keyOf(manifest));
    if (folder === undefined && !uploaded) return false;
    return served.add(folder ?? (await repository.fetch(manifest)), version);
  }

  const stop = clock.every(LOOK_MS, () => {
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

function keyOf({ name, version }: { name: string; version: number }): string {
  return `${name}@${version}`;
}

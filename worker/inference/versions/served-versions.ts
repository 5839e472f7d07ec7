/**
 * The versions that a worker serves, each with its consumer. They come and go while the others go on.
 *
 *   added -> loading -> served -> removed or lost        loading -> refused (reported as failed, or left to other workers)
 *
 * Promises:
 *   - A version serves only after a child has verified, loaded and warmed it up. An uploaded one is checked in a child of its
 *     own, so that nobody else waits for that.
 *   - With `SLUICE_BACKEND=auto` versions then move to the backend that is fastest for them (backend-moves.ts).
 *   - Versions are loaded and removed one at a time, so that no pool is closed on which another version is being loaded.
 *   - A version that was unloaded to make room for others (model-memory.ts) still takes jobs, and is loaded for them.
 *   - A version that cannot be loaded again is lost. It is served no more, and may be added as if it had never been here.
 */
import pLimit from 'p-limit';
import type { Clock } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import type { Logger } from '../../../shared/base/log.js';
import type { Manifest, VersionFiles } from '../../../shared/contract/models/manifest.js';
import { versionKey } from '../../../shared/contract/models/model-ref.js';
import type { Models } from '../../../shared/core/models/models.js';
import type { Computing } from '../../../shared/core/workers/workers.js';
import { loadedBytes } from '../../../shared/model-packages/weights.js';
import type { TicketConsumer } from '../consumer/ticket-consumer.js';
import type { InferenceMetrics } from '../metrics.js';
import type { PoolEvents } from '../pool/backend-pool.js';
import type { BackendPools } from '../pool/backend-pools.js';
import { type MovableVersion, startBackendMoves } from './backend-moves.js';
import {
  type BackendSelection,
  type CheckedVersion,
  NotHere,
  type SelectedPool,
} from './backend-selection.js';
import type { ModelMemory } from './model-memory.js';
import { openVersionRoute, type VersionRoute } from './version-route.js';

export interface ServedVersionsDeps {
  pools: BackendPools;
  events: PoolEvents;
  selection: BackendSelection;
  memory: ModelMemory;
  models: Models;
  metrics: InferenceMetrics;
  clock: Clock;
  log: Logger;
  onError: (kind: string, error: unknown) => void;
  startConsumer(manifest: Manifest, route: VersionRoute): TicketConsumer;
}

export interface ServedVersions {
  /**
   * Resolves when the version is served, or cannot be served here, which was reported. Rejects when the report cannot be
   * written. With `apart` it is checked in a child of its own, so that those that are served do not wait for that.
   */
  add(folder: string, version: VersionFiles, how?: { apart: boolean }): Promise<void>;
  /** Hands back the jobs that were not begun, waits for the others, and frees what the version holds. */
  remove(name: string, version: number): Promise<void>;
  describe(): Computing;
  has(name: string, version: number): boolean;
  /** Returns the versions that are served, as `versionKey` names them. */
  keys(): string[];
  /** Returns whether the version was tried, and another try would end as that one did. */
  isRefused(name: string, version: number): boolean;
  close(): Promise<void>;
}

interface ServedVersion extends MovableVersion {
  consumer: TicketConsumer;
}

/** Returns the versions of a worker, none at first. They follow the events of the pools. */
export function createServedVersions(deps: ServedVersionsDeps): ServedVersions {
  const { pools, events, selection, memory, models, metrics, clock, log, onError, startConsumer } = deps;
  const served = new Map<string, ServedVersion>();
  /** The keys of versions that cannot be served here. */
  const refused = new Set<string>();
  const inTurn = pLimit(1);
  const closing = new AbortController();

  async function add(folder: string, version: VersionFiles, { apart } = { apart: false }): Promise<void> {
    const { manifest } = version;
    const key = keyOf(manifest);
    if (closing.signal.aborted || served.has(key)) return;
    await models.report(manifest.name, manifest.version, 'loading', { waitingFor: 'checks' });
    try {
      const checked = apart ? await selection.check(folder, manifest, closing.signal) : null;
      await inTurn(() => serve(folder, version, checked));
    } catch (error) {
      // While this worker closes, the child that should have loaded the version was told to end.
      if (!closing.signal.aborted) await reportUnserved(manifest, error);
      refused.add(key);
    }
  }

  async function serve(folder: string, version: VersionFiles, checked: CheckedVersion | null): Promise<void> {
    const { manifest } = version;
    closing.signal.throwIfAborted();
    const { selected, route } = await load(folder, version, checked);
    await reportReady(manifest, selected);
    if (closing.signal.aborted) return;
    const consumer = startConsumer(manifest, route);
    served.set(keyOf(manifest), { folder, manifest, selected, route, consumer });
  }

  async function load(
    folder: string,
    version: VersionFiles,
    checked: CheckedVersion | null,
  ): Promise<Pick<ServedVersion, 'selected' | 'route'>> {
    const { manifest } = version;
    // No pool has more children than the first: only `cuda` may have more than others, and it comes first.
    const bytes = (await loadedBytes(folder, version)) * pools.first.childCount;
    if (memory.maxBytes > 0 && bytes > memory.maxBytes)
      throw new NotHere(`it takes ${bytes} bytes, this worker has memory for ${memory.maxBytes}`);
    let selecting: Promise<SelectedPool> | undefined;
    const route = await openVersionRoute({
      folder,
      manifest,
      bytes,
      memory,
      async loadFirst() {
        selecting = selection.select(folder, manifest, checked);
        return (await selecting).pool;
      },
      onLost: (error) => void lose(manifest, error),
      metrics,
      log,
    });
    const selected = await selecting;
    if (!selected) throw new Error(`${keyOf(manifest)} was loaded nowhere. This is a bug.`);
    return { selected, route };
  }

  async function remove(name: string, version: number): Promise<void> {
    if (await drop(versionKey(name, version))) log.info({ model: name, version }, 'version removed');
  }

  /**
   * Removes a version that could not be loaded again. Its consumer closes at once and does not wait for its turn: each job
   * that it handed back until then would come again, and use up its starts.
   */
  async function lose(manifest: Manifest, error: unknown): Promise<void> {
    const { name: model, version } = manifest;
    const closed = served.get(keyOf(manifest))?.consumer.close();
    await inTurn(async () => {
      if (await drop(keyOf(manifest))) log.error({ model, version, why: messageOf(error) }, 'version lost');
    });
    await closed;
  }

  /** Resolves with false when there was nothing to drop. */
  async function drop(key: string): Promise<boolean> {
    const each = served.get(key);
    if (!each || closing.signal.aborted) return false;
    served.delete(key);
    await each.consumer.close();
    await each.route.close();
    return true;
  }

  async function closeUnusedPools(): Promise<void> {
    const inUse = new Set([...served.values()].map(({ route }) => route.pool));
    if (!closing.signal.aborted && inUse.size > 0) await pools.closeUnused((pool) => inUse.has(pool));
  }

  /** A version that this worker cannot run stays pending for one that can, and so do its jobs. */
  async function reportUnserved({ name, version }: Manifest, error: unknown): Promise<void> {
    const isElsewhere = error instanceof NotHere;
    const why = { error: messageOf(error) };
    if (isElsewhere) await models.report(name, version, 'pending', { ...why, waitingFor: 'backend' });
    else await models.report(name, version, 'failed', why);
    if (isElsewhere) log.info({ model: name, version, why: error.message }, 'version left to other workers');
    else log.error({ model: name, version, why: messageOf(error) }, 'version failed');
  }

  async function reportReady(
    { name, version }: Manifest,
    { pool, report, comparison }: SelectedPool,
    event = 'version ready',
  ): Promise<void> {
    const backend = pool.backend.name;
    const { warnings, ...figures } = report;
    const facts = { ...figures, ...(comparison && { comparison }) };
    await models.report(name, version, 'ready', {
      backend,
      metrics: facts,
      warnings,
      wasComputed: report.wasComputed,
    });
    metrics.isolated.set({ model: name, version }, report.isolatedSignatures.length > 0 ? 1 : 0);
    log.info({ model: name, version, backend, ...facts }, event);
    for (const warning of warnings) log.warn({ model: name, version }, warning);
  }

  const moves = startBackendMoves({
    versions: () => served.values(),
    selection,
    inTurn,
    closeUnusedPools,
    onCompared: (manifest, selected) => reportReady(manifest, selected, 'backends compared'),
    clock,
    onError,
  });
  events.on('changed', () => {
    for (const { consumer } of served.values()) consumer.poolChanged();
  });
  events.on('versionLost', (manifest, error) => void lose(manifest, error));

  return {
    add,
    remove: (name, version) => inTurn(() => remove(name, version)),
    describe() {
      const all = [...served.values()];
      const inUse = new Set(all.map(({ route }) => route.pool));
      return {
        devices: [...inUse].flatMap((pool) => pool.describe()),
        models: all.map(({ manifest: { name: model, version }, route }) => ({
          model,
          version,
          backend: route.pool.backend.name,
          loaded: route.isLoaded,
        })),
      };
    },
    keys: () => [...served.keys()],
    has: (name, version) => served.has(versionKey(name, version)),
    isRefused: (name, version) => refused.has(versionKey(name, version)),
    async close() {
      closing.abort(new Error('The worker closes.'));
      moves.close();
      memory.close();
      await Promise.all([...served.values()].map(({ consumer }) => consumer.close()));
      await pools.close();
    },
  };
}

function keyOf({ name, version }: Manifest): string {
  return versionKey(name, version);
}

/**
 * The versions that a worker serves, each with its consumer; they come and go while the others go on.
 *
 * A version serves only after a child has verified, loaded and warmed it up; one that fails is reported and left out. With
 * `SLUICE_BACKEND=auto` versions then move to the backend that is fastest for them (backend-selection.ts). BackendPools are loaded, unloaded
 * and closed by one at a time, so that none is closed which another version is just placed on. Loaded they are within a
 * budget (model-memory.ts): one that is evicted takes jobs as before, and is loaded for them. One that cannot be loaded again is lost: it
 * is served no more, and may be added as if it had never been.
 */

import { messageOf } from '../../../shared/base/errors.js';
import type { Logger } from '../../../shared/base/log.js';
import type { Manifest, VersionFiles } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { Models } from '../../../shared/core/models/models.js';
import type { Computing } from '../../../shared/core/workers/workers.js';
import { loadedBytes } from '../../../shared/model-packages/weights.js';
import type { Task, TaskResult } from '../batching/batcher.js';
import type { Consumer } from '../consumer/ticket-consumer.js';
import type { InferenceMetrics } from '../metrics.js';
import type { PoolEvents } from '../pool/backend-pool.js';
import type { BackendPools } from '../pool/backend-pools.js';
import { NotLoaded } from '../pool/run-elsewhere.js';
import { createServing, type Serving } from '../pool/version-route.js';
import type { InstanceResult } from '../protocol/messages.js';
import { NotHere, type Placement, type Placing } from './backend-selection.js';
import type { Memory, Room } from './model-memory.js';

export interface ServedDeps {
  pools: BackendPools;
  events: PoolEvents;
  placing: Placing;
  memory: Memory;
  /** Of the memory; 0: no bound. */
  maxBytes: number;
  models: Models;
  metrics: InferenceMetrics;
  log: Logger;
  startConsumer(manifest: Manifest, serving: Serving): Consumer;
}

interface Served {
  folder: string;
  manifest: Manifest;
  placement: Placement;
  serving: Serving;
  room: Room;
  consumer: Consumer;
}

export type ServedVersions = ReturnType<typeof createServedVersions>;

export function createServedVersions(deps: ServedDeps) {
  const { pools, events, placing, memory, maxBytes, models, metrics, log, startConsumer } = deps;
  const served = new Map<string, Served>();
  /** Versions that cannot be served here. */
  const refused = new Set<string>();
  let closing = false;
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = turn.then(act);
    turn = result.catch(() => undefined);
    return result;
  }

  /** False when it cannot be served here, which was reported. Rejects when the report cannot be written. */
  function add(folder: string, version: VersionFiles): Promise<boolean> {
    return inTurn(async () => {
      const { name, version: number } = version.manifest;
      const key = keyOf(name, number);
      if (closing || served.has(key)) return true;
      await models.report(name, number, 'loading');
      try {
        const each = await place(folder, version);
        await reportReady(version.manifest, each.placement);
        if (closing) return false;
        served.set(key, { ...each, consumer: startConsumer(version.manifest, usingRoom(each)) });
        return true;
      } catch (error) {
        // The child that should have loaded it was told to end.
        if (!closing) await reportUnserved(version.manifest, error);
        refused.add(key);
        return false;
      }
    });
  }

  /** Loaded, checked, warmed up. */
  async function place(folder: string, version: VersionFiles): Promise<Omit<Served, 'consumer'>> {
    const { manifest } = version;
    // No pool has more children than the first: only those of `cuda` may be more than of others, and it comes first.
    const bytes = (await loadedBytes(folder, version)) * pools.first.childCount;
    if (maxBytes > 0 && bytes > maxBytes)
      throw new NotHere(`it takes ${bytes} bytes, this worker has memory for ${maxBytes}`);
    const { name: model } = manifest;
    let placement: Placement | null = null;
    let serving: Serving | null = null;
    const room = memory.open({
      bytes,
      async load() {
        if (serving)
          await serving.pool.load(folder, manifest).catch((error: unknown) => lost(manifest, error));
        else placement = await placing.place(folder, manifest);
        metrics.modelLoads.inc({ model });
      },
      async unload() {
        await (serving ?? placement)?.pool.unload(manifest.name, manifest.version);
        metrics.modelEvictions.inc({ model });
        log.info({ model, version: manifest.version }, 'version unloaded');
      },
    });
    const placed = await room.use(async () => placement as Placement | null);
    if (!placed) throw new Error(`${model} was not placed. This is a bug.`);
    serving = createServing(manifest, placed.pool);
    return { folder, manifest, placement: placed, serving, room };
  }

  /** Gives back what was not begun, and frees what the version holds. */
  function remove(name: string, version: number): Promise<void> {
    return inTurn(async () => {
      if (await drop(name, version)) log.info({ model: name, version }, 'version removed');
    });
  }

  /**
   * As `remove`, of one that could not be loaded again. It takes no more jobs at once, and not in its turn: each job that it
   * handed back would come again until then, and use up its starts.
   */
  async function lose({ name, version }: Manifest, error: unknown): Promise<void> {
    const closed = served.get(keyOf(name, version))?.consumer.close();
    await inTurn(async () => {
      if (await drop(name, version))
        log.error({ model: name, version, why: messageOf(error) }, 'version lost');
    });
    await closed;
  }

  function lost(manifest: Manifest, error: unknown): never {
    void lose(manifest, error);
    throw new NotLoaded(manifest.name, manifest.version);
  }

  async function drop(name: string, version: number): Promise<boolean> {
    const each = served.get(keyOf(name, version));
    if (!each || closing) return false;
    served.delete(keyOf(name, version));
    await each.consumer.close();
    await each.room.free();
    return true;
  }

  /** Versions to the backends that are fastest for them, one after the other; then what nobody needs is closed. */
  async function settle(): Promise<void> {
    for (const each of [...served.values()])
      if (placing.isOpen(each.manifest)) await inTurn(() => settleOne(each));
    await inTurn(async () => {
      const inUse = new Set([...served.values()].map(({ serving }) => serving.pool));
      if (!closing && inUse.size > 0) await pools.closeUnused((pool) => inUse.has(pool));
    });
  }

  async function settleOne(each: Served): Promise<void> {
    const { folder, manifest, placement, serving, room } = each;
    if (closing || served.get(keyOf(manifest.name, manifest.version)) !== each) return;
    await room.use(async () => {
      const best = await placing.compare(folder, manifest, placement);
      // BackendPools that close lose every comparison.
      if (closing) return;
      if (best.isFinal) placing.remember(manifest, best);
      await serving.move(best.pool);
      each.consumer.poolChanged();
      await reportReady(manifest, best, 'backends compared');
    });
  }

  /** A version that this worker cannot run waits for one that can; its jobs do, too. */
  async function reportUnserved({ name, version }: Manifest, error: unknown): Promise<void> {
    const isElsewhere = error instanceof NotHere;
    await models.report(name, version, isElsewhere ? 'pending' : 'failed', { error: messageOf(error) });
    if (isElsewhere) log.info({ model: name, version, why: error.message }, 'version left to other workers');
    else log.error({ model: name, version, why: messageOf(error) }, 'version failed');
  }

  async function reportReady(
    { name, version }: Manifest,
    { pool, report, comparison }: Placement,
    event = 'version ready',
  ): Promise<void> {
    const backend = pool.backend.name;
    const metrics = { ...report, ...(comparison && { comparison }) };
    await models.report(name, version, 'ready', { backend, metrics });
    log.info({ model: name, version, backend, ...metrics }, event);
  }

  events.on('changed', () => {
    for (const { consumer } of served.values()) consumer.poolChanged();
  });
  events.on('versionLost', (manifest, error) => void lose(manifest, error));

  return {
    add,
    remove,
    settle,
    describe(): Computing {
      const all = [...served.values()];
      const inUse = new Set(all.map(({ serving }) => serving.pool));
      return {
        devices: [...inUse].flatMap((pool) => pool.describe()),
        models: all.map(({ manifest: { name: model, version }, serving, room }) => ({
          model,
          version,
          backend: serving.pool.backend.name,
          loaded: room.isLoaded,
        })),
      };
    },
    has: (name: string, version: number) => served.has(keyOf(name, version)),
    /** It was tried, and another try would end as that one did. */
    isRefused: (name: string, version: number) => refused.has(keyOf(name, version)),
    async close(): Promise<void> {
      closing = true;
      memory.close();
      await Promise.all([...served.values()].map(({ consumer }) => consumer.close()));
      await pools.close();
    },
  };
}

/** What is submitted waits until the version is loaded. */
function usingRoom({ serving, room }: Pick<Served, 'serving' | 'room'>): Serving {
  return {
    get pool() {
      return serving.pool;
    },
    submit: (task) => (task.isBackground ? submitYielding(task) : room.use(() => serving.submit(task))),
    move: serving.move,
  };

  /** What waits in the background leaves when others need the room, and comes back. */
  async function submitYielding(task: Task<Instance>): Promise<TaskResult<InstanceResult>> {
    for (;;) {
      const left = new AbortController();
      const leave = () => left.abort(task.signal?.reason);
      task.signal?.addEventListener('abort', leave);
      if (task.signal?.aborted) leave();
      try {
        return await room.use(() => serving.submit({ ...task, signal: left.signal }), leave);
      } catch (error) {
        if (!left.signal.aborted || task.signal?.aborted) throw error;
      } finally {
        task.signal?.removeEventListener('abort', leave);
      }
    }
  }
}

function keyOf(name: string, version: number): string {
  return `${name}@${version}`;
}

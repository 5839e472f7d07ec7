/**
 * Version route: leads the tasks of one version to the pool where it is loaded now.
 *
 *   loaded -> unloaded, to make room for others -> loaded for the next task …
 *   on one pool -> moved to another, while tasks come
 *
 * Promises:
 *   - A task waits until the version is loaded, and the version stays loaded until the task has its results.
 *   - After a move, new tasks go to the new pool at once. The old pool unloads the version when its last task is done.
 *   - Background tasks that wait give way when others need the memory, and come back by themselves.
 *   - A version that cannot be loaded again is lost: its tasks are refused with `NotLoaded`.
 */
import type { Logger } from '../../../shared/base/log.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { Task, TaskResult } from '../batching/batcher.js';
import type { InferenceMetrics } from '../metrics.js';
import type { BackendPool } from '../pool/backend-pool.js';
import { NotLoaded } from '../pool/run-elsewhere.js';
import type { InstanceResult } from '../protocol/messages.js';
import type { ModelMemory } from './model-memory.js';

export interface VersionRouteDeps {
  folder: string;
  manifest: Manifest;
  /** How much memory the version takes while it is loaded. */
  bytes: number;
  memory: ModelMemory;
  /** Loads the version for the first time and resolves with the pool on which it is. */
  loadFirst: () => Promise<BackendPool>;
  /** The version could not be loaded again. */
  onLost: (error: unknown) => void;
  metrics: InferenceMetrics;
  log: Logger;
}

export interface VersionRoute {
  /** Where new tasks go. */
  readonly pool: BackendPool;
  readonly isLoaded: boolean;
  /** Whether nothing uses the version now. */
  readonly isIdle: boolean;
  /** @throws {RunElsewhere} when this worker cannot compute the task; else as the batcher's `submit`. */
  submit(task: Task<Instance>): Promise<TaskResult<InstanceResult>>;
  /** Acts while the version is loaded, and keeps it loaded meanwhile. */
  whileLoaded(act: () => Promise<void>): Promise<void>;
  /** Leads tasks to a pool that has loaded the version; resolves when nothing of it is left on the old one. */
  move(to: BackendPool): Promise<void>;
  /** Unloads the version for good, when its last task is done. */
  close(): Promise<void>;
}

/** Something for which the version must stay loaded. */
interface Use {
  /** Where its task is; null for what is no task. */
  pool: BackendPool | null;
  /** Asks it to end early, because others need the memory. */
  leave: (() => void) | undefined;
  end: Promise<unknown>;
}

/** Resolves once the version is loaded; rejects with the reason when it cannot be. */
export async function openVersionRoute(deps: VersionRouteDeps): Promise<VersionRoute> {
  const { folder, manifest, bytes, memory, loadFirst, onLost, metrics, log } = deps;
  const { name: model, version } = manifest;
  const uses = new Set<Use>();
  let current: BackendPool | null = null;

  const resident = {
    bytes,
    async load() {
      if (current) await loadAgain(current);
      else current = await loadFirst();
      metrics.modelLoads.inc({ model });
    },
    async unload() {
      for (const { leave } of uses) leave?.();
      await endOf(uses);
      await current?.unload(model, version);
      metrics.modelEvictions.inc({ model });
      log.info({ model, version }, 'version unloaded');
    },
  };
  await memory.load(resident);

  function pool(): BackendPool {
    if (!current) throw new Error(`${model} was loaded nowhere. This is a bug.`);
    return current;
  }

  async function loadAgain(on: BackendPool): Promise<void> {
    try {
      await on.load(folder, manifest);
    } catch (error) {
      onLost(error);
      throw new NotLoaded(model, version);
    }
  }

  /** Begins what needs the version once that is loaded, and keeps it loaded until that ends. */
  async function use<T>(
    begin: () => { pool: BackendPool | null; end: Promise<T> },
    leave?: () => void,
  ): Promise<T> {
    while (!memory.isLoaded(resident)) await memory.load(resident);
    memory.touch(resident);
    const begun = { ...begin(), leave };
    uses.add(begun);
    try {
      return await begun.end;
    } finally {
      uses.delete(begun);
    }
  }

  function submitOnce(task: Task<Instance>, leave?: () => void): Promise<TaskResult<InstanceResult>> {
    return use(() => {
      const on = pool();
      return { pool: on, end: on.submit(task) };
    }, leave);
  }

  async function submitYielding(task: Task<Instance>): Promise<TaskResult<InstanceResult>> {
    for (;;) {
      const left = new AbortController();
      const leave = () => left.abort(task.signal?.reason);
      task.signal?.addEventListener('abort', leave);
      if (task.signal?.aborted) leave();
      try {
        return await submitOnce({ ...task, signal: left.signal }, leave);
      } catch (error) {
        if (!left.signal.aborted || task.signal?.aborted) throw error;
      } finally {
        task.signal?.removeEventListener('abort', leave);
      }
    }
  }

  return {
    get pool() {
      return pool();
    },
    get isLoaded() {
      return memory.isLoaded(resident);
    },
    get isIdle() {
      return uses.size === 0;
    },
    submit: (task) => (task.isBackground ? submitYielding(task) : submitOnce(task)),
    whileLoaded: (act) => use(() => ({ pool: null, end: act() })),
    async move(to) {
      const from = pool();
      if (from === to) return;
      current = to;
      await endOf([...uses].filter((each) => each.pool === from));
      await from.unload(model, version);
    },
    close: () => memory.unload(resident),
  };
}

/** Resolves when the uses have ended, well or not. */
async function endOf(uses: Iterable<Use>): Promise<void> {
  await Promise.allSettled([...uses].map(({ end }) => end));
}

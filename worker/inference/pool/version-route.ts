/**
 * A version that serves: its tasks go to the pool on which it is placed. Moved to another, it goes on there at once; the
 * old pool is rid of it when what it had of it is done.
 */
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { Task, TaskResult } from '../batching/batcher.js';
import type { InstanceResult } from '../protocol/messages.js';
import type { BackendPool } from './backend-pool.js';

export interface Serving {
  readonly pool: BackendPool;
  submit(task: Task<Instance>): Promise<TaskResult<InstanceResult>>;
  /** Resolves when nothing of the version is left on the old pool. `to` has loaded it. */
  move(to: BackendPool): Promise<void>;
}

export function createServing(manifest: Manifest, placed: BackendPool): Serving {
  let pool = placed;
  const underWay = new Map<BackendPool, Set<Promise<unknown>>>();

  function submit(task: Task<Instance>): Promise<TaskResult<InstanceResult>> {
    const here = underWay.get(pool) ?? new Set();
    underWay.set(pool, here);
    const result = pool.submit(task);
    here.add(result);
    const remove = () => void here.delete(result);
    result.then(remove, remove);
    return result;
  }

  return {
    get pool() {
      return pool;
    },
    submit,
    async move(to) {
      const from = pool;
      if (from === to) return;
      pool = to;
      await Promise.allSettled(underWay.get(from) ?? []);
      underWay.delete(from);
      await from.unload(manifest.name, manifest.version);
    },
  };
}

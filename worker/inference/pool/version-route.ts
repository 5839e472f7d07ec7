/**
 * A version that serves: its tasks go to the lane on which it is placed. Moved to another, it goes on there at once; the
 * old lane is rid of it when what it had of it is done.
 */
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { Task, TaskResult } from '../batching/batcher.js';
import type { InstanceResult } from '../protocol/messages.js';
import type { Lane } from './backend-pool.js';

export interface Serving {
  readonly lane: Lane;
  submit(task: Task<Instance>): Promise<TaskResult<InstanceResult>>;
  /** Resolves when nothing of the version is left on the old lane. `to` has loaded it. */
  move(to: Lane): Promise<void>;
}

export function createServing(manifest: Manifest, placed: Lane): Serving {
  let lane = placed;
  const underWay = new Map<Lane, Set<Promise<unknown>>>();

  function submit(task: Task<Instance>): Promise<TaskResult<InstanceResult>> {
    const here = underWay.get(lane) ?? new Set();
    underWay.set(lane, here);
    const result = lane.submit(task);
    here.add(result);
    const remove = () => void here.delete(result);
    result.then(remove, remove);
    return result;
  }

  return {
    get lane() {
      return lane;
    },
    submit,
    async move(to) {
      const from = lane;
      if (from === to) return;
      lane = to;
      await Promise.allSettled(underWay.get(from) ?? []);
      underWay.delete(from);
      await from.unload(manifest);
    },
  };
}

/**
 * A backend pool: one backend in children of its own, and the batcher that feeds them.
 */
import type { EventEmitter } from 'node:events';
import type { Clock } from '../../../shared/base/clock.js';
import type { Logger } from '../../../shared/base/log.js';
import { type Manifest, nameOfSignature } from '../../../shared/contract/models/manifest.js';
import { parseModelRef, versionKey } from '../../../shared/contract/models/model-ref.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { Device } from '../../../shared/contract/worker-view.js';
import type { BackendName } from '../../backends/backend.js';
import { assignGpus } from '../../devices/gpus.js';
import type { Hardware } from '../../devices/hardware.js';
import type { RecycleLimits } from '../../process/recycle-policy.js';
import { createBatcher, type Task, type TaskResult } from '../batching/batcher.js';
import type { InferenceMetrics } from '../metrics.js';
import type { ChildOptions, InstanceResult } from '../protocol/messages.js';
import { type BackendChildren, startBackendChildren } from './backend-children.js';
import { createBatchRunner } from './batch-runner.js';
import { childEnvironment } from './child-environment.js';

/** The pools of a worker report what happens in them. */
export type PoolEvents = EventEmitter<{
  /** A pool stands still now, or computes again. */
  changed: [];
  /** A version could not be loaded again; its pool does not have it any more. */
  versionLost: [manifest: Manifest, error: unknown];
}>;

export interface BackendPoolDeps {
  /** The entry point of the child. */
  child: URL;
  options: Omit<ChildOptions, 'backend'>;
  recycle?: RecycleLimits;
  /** How many children each backend has; where left out one, and with `cuda` one for each GPU. */
  childCount?: number | undefined;
  /** There are none where left out. */
  gpus?: readonly string[];
  /** Returns what is known of the GPU that a child is given, null for none; unknown where left out. */
  hardwareOf?: (gpu: string | null) => Hardware;
  clock: Clock;
  log: Logger;
  metrics: InferenceMetrics;
  events?: PoolEvents;
}

/** Tasks that are submitted while the pool stands still are refused with `RunElsewhere`. */
export interface BackendPool extends Omit<BackendChildren, 'run' | 'states'> {
  /** How many batches it computes at the same time. */
  readonly childCount: number;
  describe(): Device[];
  submit(task: Task<Instance>): Promise<TaskResult<InstanceResult>>;
}

const UNKNOWN: Hardware = { name: null, memoryBytes: null };
/** Bound of the tasks in the batcher, far above what the concurrency of the consumers lets in. */
const MAX_ENQUEUED = 100_000;

/** Resolves with the pool of a backend; rejects when the backend, or with `auto` every one, does not load. */
export async function openBackendPool(
  deps: BackendPoolDeps,
  backend: BackendName | 'auto',
): Promise<BackendPool> {
  const { options, childCount, gpus = [], hardwareOf = () => UNKNOWN, clock, log, metrics, events } = deps;
  const gpusOf = (name: BackendName) => assignGpus(name === 'cuda', childCount, gpus);
  const children = await startBackendChildren({
    child: deps.child,
    options: { ...options, backend },
    environment: childEnvironment(
      options.librariesDir,
      backend,
      backend === 'auto' ? (childCount ?? 1) : gpusOf(backend).length,
    ),
    clock,
    log,
    recycle: deps.recycle,
    gpusOf,
    listener: {
      onChange: () => events?.emit('changed'),
      onVersionLost: (manifest, error) => events?.emit('versionLost', manifest, error),
      onDeath: () => metrics.childRestarts.inc(),
      onRecycle: () => metrics.childRenewals.inc(),
    },
  });
  const { name } = children.backend;
  const hardware = gpusOf(name).map(hardwareOf);
  const describe = (): Device[] =>
    children.states().map((state, i) => ({ backend: name, ...state, ...(hardware[i] ?? UNKNOWN) }));
  const devices = describe();
  for (const { device, name: model, memoryBytes } of devices) {
    metrics.backend.set({ backend: name, device, name: model ?? '' }, 1);
    if (memoryBytes !== null) metrics.deviceMemory.set({ backend: name, device }, memoryBytes);
  }

  const runner = createBatchRunner(children);
  const batcher = createBatcher<Instance, InstanceResult>({
    clock,
    children: devices.length,
    maxEnqueued: MAX_ENQUEUED,
    run: ({ kind, ...batch }) => runner.run({ ...versionOf(kind), ...batch }),
    onBatch: ({ kind, size, waitMs, computeMs }) => {
      const { model } = versionOf(kind);
      metrics.batchSize.observe({ model }, size);
      metrics.batchWait.observe({ model }, waitMs / 1000);
      metrics.backendRun.observe({ model }, computeMs / 1000);
    },
  });

  /** By version: whether the jobs of a signature have batches of their own. */
  const isolates = new Map<string, (signatureName: string | undefined) => boolean>();

  return {
    ...children,
    childCount: devices.length,
    describe,
    async load(folder, manifest, found) {
      const report = await children.load(folder, manifest, found);
      isolates.set(versionKey(manifest.name, manifest.version), (name = nameOfSignature(manifest)) =>
        report.isolatedSignatures.includes(name),
      );
      return report;
    },
    submit(task) {
      const { model, version } = versionOf(task.kind);
      const isAlone = isolates.get(versionKey(model, version))?.(task.select?.signatureName);
      return batcher.submit(isAlone ? { ...task, kind: `${task.kind}|${task.owner}` } : task);
    },
    async close() {
      await children.close();
      for (const { device, name: model } of devices) {
        metrics.backend.remove({ backend: name, device, name: model ?? '' });
        metrics.deviceMemory.remove({ backend: name, device });
      }
    },
  };
}

/** Returns the version with which a kind of the batcher begins: "mnist@1|image:784;". */
function versionOf(kind: string): { model: string; version: number } {
  const ref = parseModelRef(kind.slice(0, kind.indexOf('|')));
  if (ref?.version === undefined) throw new Error(`${kind} names no version. This is a bug.`);
  return { model: ref.name, version: ref.version };
}

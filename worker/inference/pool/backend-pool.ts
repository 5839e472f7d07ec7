/**
 * A lane: one backend in children of its own, and the batcher that feeds them.
 */
import type { Clock } from '../../../shared/base/clock.js';
import type { Logger } from '../../../shared/base/log.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { parseModelRef } from '../../../shared/contract/models/model-ref.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { Device } from '../../../shared/core/workers/workers.js';
import { nativeEnvironment } from '../../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../backends/backend.js';
import { assignGpus } from '../../devices/gpus.js';
import type { Hardware } from '../../devices/hardware.js';
import { shareOfCores } from '../../devices/threads.js';
import type { WearLimits } from '../../process/recycle-policy.js';
import { createBatcher, type Task, type TaskResult } from '../batching/batcher.js';
import type { InferenceMetrics } from '../metrics.js';
import type { BackendReport, ChildOptions, InstanceResult, LoadReport, Speed } from '../protocol/messages.js';
import { startExecutor } from './batch-runner.js';

export interface LaneDeps {
  /** Entry point of the child. */
  child: URL;
  options: Omit<ChildOptions, 'backend'>;
  wear?: WearLimits;
  /** For each backend; where left out 1, and for `cuda` one for each GPU. */
  children?: number | undefined;
  /** None where left out. */
  gpus?: readonly string[];
  /** Of the GPU that a child is given, null for none; unknown where left out. */
  hardwareOf?: (gpu: string | null) => Hardware;
  clock: Clock;
  log: Logger;
  metrics: InferenceMetrics;
  /** A lane may stand still now, or no longer. */
  onChange?: () => void;
  /** A version could not be loaded again. */
  onLost?: (manifest: Manifest, error: unknown) => void;
}

export interface Lane {
  readonly backend: BackendReport;
  /** How many batches it computes at the same time. */
  readonly children: number;
  describe(): Device[];
  /** Why it does not compute as it should; null when it does. */
  readonly fault: string | null;
  /** Nothing computes here, nor will soon; what is submitted is refused with `RunElsewhere`. */
  readonly standsStill: boolean;
  load(folder: string, manifest: Manifest): Promise<LoadReport>;
  unload(manifest: Manifest): Promise<void>;
  measure(manifest: Manifest, batchSize: number, budgetMs: number): Promise<Speed | null>;
  submit(task: Task<Instance>): Promise<TaskResult<InstanceResult>>;
  close(): Promise<void>;
}

const UNKNOWN: Hardware = { name: null, memoryBytes: null };
/** Tasks that wait in the batcher at most: far above what the consumers' concurrency lets in. */
const MAX_ENQUEUED = 100_000;

/** Rejects when the backend, or with `auto` every one, does not load. */
export async function openLane(
  {
    child,
    options,
    wear,
    children,
    gpus = [],
    hardwareOf = () => UNKNOWN,
    clock,
    log,
    metrics,
    onChange,
    onLost,
  }: LaneDeps,
  backend: BackendName | 'auto',
): Promise<Lane> {
  const executor = await startExecutor({
    child,
    options: { ...options, backend },
    environment: {
      ...nativeEnvironment(options.cacheDir, backend === 'native' ? 'cpu' : 'cuda'),
      ...shareOfCores(
        backend === 'auto' ? (children ?? 1) : assignGpus(backend === 'cuda', children, gpus).length,
      ),
    },
    clock,
    log,
    wear,
    gpusOf: (name) => assignGpus(name === 'cuda', children, gpus),
    ...(onChange && { onChange }),
    onLost,
    onRespawn: () => metrics.childRestarts.inc(),
    onRenew: () => metrics.childRenewals.inc(),
  });
  const { name } = executor.backend;
  const hardware = assignGpus(name === 'cuda', children, gpus).map(hardwareOf);
  const devices = executor.children.map(({ device }, i) => ({ device, ...(hardware[i] ?? UNKNOWN) }));
  for (const device of devices) {
    metrics.backend.set({ backend: name, device: device.device, name: device.name ?? '' }, 1);
    if (device.memoryBytes !== null)
      metrics.deviceMemory.set({ backend: name, device: device.device }, device.memoryBytes);
  }

  const batcher = createBatcher<Instance, InstanceResult>({
    clock,
    children: devices.length,
    maxEnqueued: MAX_ENQUEUED,
    run: ({ kind, instances, timeoutsMs }) => executor.run({ ...versionOf(kind), instances, timeoutsMs }),
    onBatch: ({ kind, size, waitMs, computeMs }) => {
      const { model } = versionOf(kind);
      metrics.batchSize.observe({ model }, size);
      metrics.batchWait.observe({ model }, waitMs / 1000);
      metrics.backendRun.observe({ model }, computeMs / 1000);
    },
  });

  return {
    backend: executor.backend,
    children: devices.length,
    describe: () =>
      executor.children.map((each, i) => ({ backend: name, ...each, ...(hardware[i] ?? UNKNOWN) })),
    get fault() {
      return executor.fault;
    },
    get standsStill() {
      return executor.standsStill;
    },
    load: executor.load,
    unload: (manifest) => executor.unload(manifest.name, manifest.version),
    measure: (manifest, batchSize, budgetMs) =>
      executor.measure(manifest.name, manifest.version, batchSize, budgetMs),
    submit: batcher.submit,
    async close() {
      await executor.close();
      for (const device of devices) {
        metrics.backend.remove({ backend: name, device: device.device, name: device.name ?? '' });
        metrics.deviceMemory.remove({ backend: name, device: device.device });
      }
    },
  };
}

/** The batcher's kinds begin with the version: "mnist@1|image:784;". */
function versionOf(kind: string): { model: string; version: number } {
  const ref = parseModelRef(kind.slice(0, kind.indexOf('|')));
  if (ref?.version === undefined) throw new Error(`${kind} names no version. This is a bug.`);
  return { model: ref.name, version: ref.version };
}

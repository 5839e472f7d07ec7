/**
 * Slice runner: has the slices of one job computed, a few at a time, within the time that the job may compute.
 */
import { type JobSpec, PRIORITIES } from '../../../shared/contract/job.js';
import { type Manifest, withSignature } from '../../../shared/contract/models/manifest.js';
import { versionKey } from '../../../shared/contract/models/model-ref.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { BatchTuner } from '../batching/batch-tuner.js';
import type { TaskResult } from '../batching/batcher.js';
import type { InstanceResult } from '../protocol/messages.js';
import { givenRows, paddingOf } from '../protocol/padded-shape.js';
import type { VersionRoute } from '../versions/version-route.js';
import type { ProgressMeter } from './progress.js';
import { limitClass, refusal, type Slice } from './slices.js';

export interface SliceRunnerDeps {
  manifest: Manifest;
  route: VersionRoute;
  tuner: BatchTuner;
  /** Hears how many elements of an instance were computed, and how many elements of padding came to them. */
  onPadding(elements: { real: number; padding: number }): void;
}

export interface SliceRunner {
  /**
   * Resolves with one result for each slice, in their order. Rejects with the signal's reason, or as the route does.
   * @throws {OutOfTime} when the slices have computed for as long as the job may.
   */
  run(
    spec: JobSpec,
    slices: readonly Slice[],
    progress: ProgressMeter,
    signal: AbortSignal,
  ): Promise<TaskResult<InstanceResult>[]>;
}

/** The job's slices have computed for as long as it may. */
export class OutOfTime extends Error {}

/** So many slices of a job are with the batcher at the same time, for each child: one runs, one is ready. */
const SLICES_AT_ONCE = 2;
/** A slice may always compute for so long: what little is left of a job's limit after many slices does not cost a child. */
const LEAST_LIMIT_MS = 1000;

/** Returns the runner of one version's slices. */
export function createSliceRunner({ manifest, route, tuner, onPadding }: SliceRunnerDeps): SliceRunner {
  const { name, version } = manifest;

  function submit(spec: JobSpec, slice: Slice, timeoutMs: number, signal: AbortSignal) {
    const { shape, instances, bytes } = slice;
    const { policy } = tuner;
    const { select } = spec;
    const selected = select ? `${JSON.stringify([select.signatureName, select.outputs])}|` : '';
    return route.submit({
      kind: `${versionKey(name, version)}|${spec.shadowOf ? 'shadow|' : ''}${limitClass(spec)}|${selected}${shape}`,
      owner: spec.id,
      select,
      rank: PRIORITIES.indexOf(spec.priority),
      isBackground: spec.shadowOf !== undefined,
      // The slice may have been cut before the tuner made batches smaller.
      policy: { ...policy, maxBatchSize: Math.max(mostOf(spec, policy.maxBatchSize), instances.length) },
      instances,
      bytes,
      timeoutMs,
      signal,
    });
  }

  /** Another signature may take smaller batches than the first. */
  function mostOf({ select }: JobSpec, most: number): number {
    return Math.min(most, withSignature(manifest, select?.signatureName)?.signature.batchSize ?? most);
  }

  /** The rows with which a batch was filled up are shared by those in it. */
  function countElements({ select }: JobSpec, instances: readonly Instance[], batchSize: number): void {
    const own = withSignature(manifest, select?.signatureName) ?? manifest;
    const filling = givenRows(own, batchSize, false) / batchSize - 1;
    for (const instance of instances) {
      const { real, padding } = paddingOf(own.signature, instance);
      onPadding({ real, padding: padding + filling * (real + padding) });
    }
  }

  return {
    async run(spec, slices, progress, signal) {
      const results: TaskResult<InstanceResult>[] = new Array(slices.length);
      // Only computing counts against the job's limit; waiting for others does not.
      let leftMs = spec.timeoutSeconds * 1000;
      let next = 0;
      const runOneAfterAnother = async () => {
        for (let index = next++; index < slices.length; index = next++) {
          const slice = slices[index] as Slice;
          const { instances } = slice;
          if (slice.isRefused) {
            results[index] = refusal(instances.length);
            continue;
          }
          if (leftMs <= 0) throw new OutOfTime();
          const result = await submit(spec, slice, Math.max(leftMs, LEAST_LIMIT_MS), signal);
          leftMs -= result.computeMs;
          results[index] = result;
          countElements(spec, instances, result.batchSize);
          progress.add(instances.length);
        }
      };
      const atOnce = Math.min(SLICES_AT_ONCE * route.pool.childCount, slices.length);
      await Promise.all(Array.from({ length: atOnce }, runOneAfterAnother));
      return results;
    },
  };
}

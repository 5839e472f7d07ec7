/**
 * Job run: computes one started job, from its stored input to its stored output.
 *
 *   load input -> cut into slices -> computed -> joined -> store output
 *
 * Promises:
 *   - An instance that brought the backend down within the last hour is not computed; a new one is put on the blocklist.
 *   - A canceled job is waited for no more; its batch goes on for the others.
 *   - A payload that cannot be read or written now fails the job with `unavailable`, which is tried again later.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../../shared/base/clock.js';
import { SluiceError } from '../../../shared/contract/errors.js';
import { type JobError, type JobSpec, jobError } from '../../../shared/contract/job.js';
import { type Manifest, withSignature } from '../../../shared/contract/models/manifest.js';
import { type Instance, packInstances, unpackInstances } from '../../../shared/contract/tensors/tensor.js';
import type { Core } from '../../../shared/core/compose.js';
import type { Finished } from '../../../shared/core/jobs/executions.js';
import type { StoredPayload } from '../../../shared/core/jobs/payloads.js';
import type { BatchTuner } from '../batching/batch-tuner.js';
import type { TaskResult } from '../batching/batcher.js';
import type { InstanceResult } from '../protocol/messages.js';
import type { VersionRoute } from '../versions/version-route.js';
import type { HeldJobs } from './held-jobs.js';
import { NO_PROGRESS, type ProgressMeter, startProgress } from './progress.js';
import { OutOfTime, type SliceRunner } from './slice-runner.js';
import { type ComputedJob, joinResults, type Slice, sliceInstances } from './slices.js';
import type { WorkerNotices } from './worker-notices.js';

export interface JobRunDeps {
  manifest: Manifest;
  core: Pick<Core, 'executions' | 'payloads' | 'predictionCache' | 'crashBlocklist' | 'shadows'>;
  workerNotices: WorkerNotices;
  heldJobs: HeldJobs;
  tuner: BatchTuner;
  sliceRunner: SliceRunner;
  route: VersionRoute;
  clock: Clock;
  onError: (kind: string, error: Error) => void;
}

/** Resolves with how the job ended. Rejects when it was dropped or left, or as the route does; then it has not ended. */
export type JobRun = (
  job: Finished['job'],
  input: StoredPayload,
) => Promise<Pick<Finished, 'end' | 'output'>>;

/** The job was canceled; its batch goes on for the others. */
class Canceled extends Error {}

/** Returns a function that runs the jobs of one version. */
export function createJobRun(deps: JobRunDeps): JobRun {
  const { manifest, workerNotices, heldJobs, tuner, sliceRunner, route, clock } = deps;
  const { executions, payloads, predictionCache, crashBlocklist, shadows } = deps.core;
  const { name: model, version } = manifest;

  const run: JobRun = async (job, input) => {
    const { spec } = job;
    try {
      const bytes = await payloads.load(input);
      if (!bytes) return failed(jobError('internal', 'The input of this job is gone.'));
      const { end, output } = await compute(job, bytes);
      if (output && !end.error && spec.cache) cachePredictions(spec, output);
      if (spec.shadowOf) compareShadow(spec, output);
      return { end, output: output && (await payloads.storeOutput(spec.id, job.token, output)) };
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'unavailable') throw error;
      deps.onError('payload', error);
      return failed(jobError('unavailable', error.message));
    }
  };

  async function compute(job: Finished['job'], input: Buffer): Promise<ComputedJob> {
    const { spec } = job;
    const instances = unpackInstances(input);
    const blocked = await crashBlocklist.of(model, version);
    const isBlocked = (index: number) =>
      blocked.size > 0 && blocked.has(hashOf(instances[index] as Instance));
    const slices = sliceInstances(instances, selected(spec), tuner.policy, isBlocked);
    const progress = slices.length > 1 ? startMeter(job) : NO_PROGRESS;
    const held = heldJobs.hold();
    const unwatch = workerNotices.onCancel(spec.id, () => held.drop(new Canceled()));
    try {
      const running = sliceRunner.run(spec, slices, progress, held.signal);
      const results = await Promise.race([running, held.dropped]);
      await blockCrashers(slices, results);
      return joinResults(spec, slices, results, route.pool.backend.name);
    } catch (error) {
      // A canceled job has its end already, so this one will be void.
      if (error instanceof Canceled) return failed(null);
      if (error instanceof OutOfTime) return failed(jobError('timeout'));
      throw error;
    } finally {
      held.release();
      unwatch();
      progress.stop();
    }
  }

  function selected({ select }: JobSpec): Manifest {
    return withSignature(manifest, select?.signatureName) ?? manifest;
  }

  /** Every worker refuses from now on the instances that have brought the backend down here. */
  async function blockCrashers(slices: readonly Slice[], results: readonly TaskResult<InstanceResult>[]) {
    const crashers = slices.flatMap(({ isRefused, instances }, index) =>
      isRefused ? [] : instances.filter((_, row) => isCrash(results[index]?.results[row])),
    );
    if (crashers.length > 0) await crashBlocklist.add(model, version, crashers.map(hashOf));
  }

  /** Keeps the predictions for equal jobs. When that fails, those jobs are computed. */
  function cachePredictions(spec: JobSpec, output: Buffer): void {
    predictionCache.keep(spec, output).catch((error: unknown) => deps.onError('answer', error as Error));
  }

  /** Counts how the predictions of a copy compare with those of the original. */
  function compareShadow(spec: JobSpec, output: Buffer | null): void {
    shadows
      .count(spec, selected(spec), output)
      .catch((error: unknown) => deps.onError('shadow', error as Error));
  }

  function startMeter(job: Finished['job']): ProgressMeter {
    return startProgress({
      clock,
      total: job.spec.instances,
      report: (progress) => executions.report(job, progress),
      onError: (error) => deps.onError('progress', error),
    });
  }

  return run;
}

function isCrash(result: InstanceResult | undefined): boolean {
  return result?.ok === false && result.code === 'input_crashed_backend';
}

function hashOf(instance: Instance): string {
  return createHash('sha256')
    .update(packInstances([instance]))
    .digest('hex');
}

function failed(error: JobError | null): ComputedJob & { output: null } {
  return { end: { error, usageMs: 0, timings: null }, output: null };
}

/**
 * Consumer of one model's queue: takes an id, runs the job, settles the record, and only then lets BullMQ forget it.
 *
 * BullMQ hands out one job at a time; a processor that waits for the batcher makes batches of them. Law: concurrency =
 * 2 × max batch size (one batch runs, one fills). A job that cannot be run now (its version is not loaded here, the
 * executor is closing) is not settled: BullMQ brings it back.
 */
import { type Job as BullJob, Worker } from 'bullmq';
import type { Clock } from '../../shared/base/clock.js';
import type { Redis } from '../../shared/base/redis.js';
import type { Logger } from '../../shared/base/telemetry.js';
import { type JobSpec, jobError } from '../../shared/contract/job.js';
import type { Manifest } from '../../shared/contract/model.js';
import { type Instance, unpackInstances } from '../../shared/contract/tensor.js';
import type { Jobs } from '../../shared/core/jobs.js';
import { inferenceQueue, WORKER_OPTIONS } from '../../shared/queue/catalog.js';
import type { Batcher, TaskResult } from './batcher.js';
import type { InstanceResult } from './messages.js';
import { joinResults, type Outcome, type Slice, sliceInstances } from './slices.js';

export interface ConsumerDeps {
  model: string;
  /** Versions that this worker has loaded, by number. */
  versions: ReadonlyMap<number, Manifest>;
  jobs: Jobs;
  batcher: Batcher<Instance, InstanceResult>;
  backend: () => string;
  redis: Redis;
  prefix: string;
  clock: Clock;
  log: Logger;
  onError: (kind: string, error: Error) => void;
  onSettled: (model: string, status: 'succeeded' | 'failed' | 'void') => void;
}

export interface Consumer {
  /** Takes no more jobs and resolves when those it has are settled. */
  close(): Promise<void>;
}

/** Slices of one job with the batcher at the same time: one runs, one is ready. */
const SLICES_AT_ONCE = 2;

export function startConsumer(deps: ConsumerDeps): Consumer {
  const { model, versions, jobs, batcher, clock, log } = deps;
  const maxBatchSize = Math.max(...[...versions.values()].map(({ batching }) => batching.maxBatchSize));
  const served = `,${[...versions.keys()].join(',')},`;

  async function process({ id = '' }: BullJob): Promise<void> {
    const started = await jobs.start(model, id, served);
    if ('skipped' in started) {
      if (started.skipped === 'not_loaded') throw new Error('The version is not loaded on this worker.');
      log.debug({ job: id, why: started.skipped }, 'skipped');
      return;
    }
    const { spec, input, token } = started;
    const { end, output } = await execute(spec, input);
    const settled = await jobs.settle(spec, token, end, output);
    if (!settled) log.warn({ job: id }, 'result is void: the job has ended or was started elsewhere');
    deps.onSettled(model, settled ? (output ? 'succeeded' : 'failed') : 'void');
  }

  async function execute(spec: JobSpec, input: Buffer): Promise<Outcome> {
    const manifest = versions.get(spec.version);
    if (!manifest) throw new Error('A job of an unserved version was started. This is a bug.');
    const slices = sliceInstances(unpackInstances(input), manifest.batching.maxBatchSize);
    const overtime = new AbortController();
    const cancel = clock.after(spec.timeoutSeconds * 1000, () => overtime.abort(new OutOfTime()));
    try {
      const results = await untilAborted(runSlices(spec, manifest, slices, overtime.signal), overtime.signal);
      return joinResults(spec, slices, results, deps.backend());
    } catch (error) {
      if (!(error instanceof OutOfTime)) throw error;
      return { end: { error: jobError('timeout'), usageMs: 0, timings: null }, output: null };
    } finally {
      cancel();
    }
  }

  async function runSlices(
    spec: JobSpec,
    manifest: Manifest,
    slices: readonly Slice[],
    signal: AbortSignal,
  ): Promise<TaskResult<InstanceResult>[]> {
    const results: TaskResult<InstanceResult>[] = new Array(slices.length);
    let next = 0;
    const lane = async () => {
      for (let index = next++; index < slices.length; index = next++) {
        const { shape, instances } = slices[index] as Slice;
        results[index] = await batcher.submit({
          kind: `${spec.model}@${spec.version}|${shape}`,
          policy: manifest.batching,
          instances,
          timeoutMs: spec.timeoutSeconds * 1000,
          signal,
        });
      }
    };
    await Promise.all(Array.from({ length: Math.min(SLICES_AT_ONCE, slices.length) }, lane));
    return results;
  }

  const worker = new Worker(inferenceQueue(model), process, {
    ...WORKER_OPTIONS,
    connection: deps.redis,
    prefix: deps.prefix,
    concurrency: 2 * maxBatchSize,
  });
  worker.on('error', (error) => deps.onError('queue', error));
  worker.on('failed', (_, error) => deps.onError('job handed back', error));

  return { close: () => worker.close() };
}

/** The job's own limit ran out; its batch goes on for the others. */
class OutOfTime extends Error {}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}

/**
 * Consumer of one version's queue: takes a ticket, takes jobs for it, runs them, settles their records, and only then lets
 * BullMQ forget the ticket.
 *
 * A job that is not computed when the worker ends, or has nothing left that computes, is not settled: its ticket goes back to
 * the queue. What ends in one turn
 * of the event loop, as the jobs of a batch do, is settled in one call.
 */
import { createHash } from 'node:crypto';
import { type Job as Message, WaitingError, Worker } from 'bullmq';
import type { Clock } from '../../../shared/base/clock.js';
import { gather } from '../../../shared/base/gather.js';
import type { Logger } from '../../../shared/base/log.js';
import { SluiceError } from '../../../shared/contract/errors.js';
import {
  type JobEnd,
  type JobError,
  type JobSpec,
  jobError,
  PRIORITIES,
} from '../../../shared/contract/job.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { type Instance, packInstances, unpackInstances } from '../../../shared/contract/tensors/tensor.js';
import type { Core } from '../../../shared/core/compose.js';
import type { Finished, Settled, Started, Unstarted } from '../../../shared/core/jobs/executions.js';
import type { Stored } from '../../../shared/core/jobs/payloads.js';
import type { JobBatch } from '../../../shared/core/models/version-outcomes.js';
import { inferenceQueue, WORKER_OPTIONS } from '../../../shared/queue/catalog.js';
import type { Redis } from '../../../shared/redis/connect.js';
import { createTuning } from '../batching/batch-tuner.js';
import type { BatchPolicy, TaskResult } from '../batching/batcher.js';
import { depthOf } from '../batching/pipeline-depth.js';
import { RunElsewhere, StandsStill } from '../pool/run-elsewhere.js';
import type { InstanceResult } from '../protocol/messages.js';
import { filledSize, paddingOf } from '../protocol/padded-shape.js';
import type { VersionRoute } from '../versions/version-route.js';
import type { Stops } from './cancel-notices.js';
import { createInHand } from './held-jobs.js';
import { NO_PROGRESS, type ProgressMeter, startProgress } from './progress.js';
import {
  batchOf,
  joinResults,
  limitClass,
  type Outcome,
  refusal,
  type Slice,
  sliceInstances,
} from './slices.js';

export interface ConsumerDeps {
  manifest: Manifest;
  core: Core;
  stops: Stops;
  route: VersionRoute;
  /** The connection of BullMQ. */
  queueRedis: Redis;
  prefix: string;
  hears: ConsumerListener;
  clock: Clock;
  log: Logger;
  onError: (kind: string, error: Error) => void;
}

export interface ConsumerListener {
  /** How its batches are made from now on. */
  onPolicy(policy: BatchPolicy): void;
  /** Elements of an instance, and those of padding that come to them. */
  onPadding(elements: { real: number; padding: number }): void;
  /** Of a caller's job; `batch`: null when it was in none. */
  onSettled(status: Settled, batch: JobBatch | null): void;
  /** Callers' jobs that were to be started and ended instead. */
  onUnstarted(unstarted: Unstarted): void;
}

export interface Consumer {
  /** Its version serves from another pool, or that pool stands still or has begun to compute again. */
  poolChanged(): void;
  /** Takes no more jobs, hands back those it has not begun to compute, and resolves when the others are settled. */
  close(): Promise<void>;
}

/** Input held under one ticket. */
const MAX_TICKET_BYTES = 32 * 1024 * 1024;
/** Slices of one job with the batcher at the same time, for each child: one runs, one is ready. */
const SLICES_AT_ONCE = 2;
/** What little is left of a job's limit after many slices does not cost a child. */
const LEAST_LIMIT_MS = 1000;
/** Jobs settled in one call. */
const MAX_SETTLED = 256;

export function startConsumer(deps: ConsumerDeps): Consumer {
  const { manifest, stops, route, hears, clock, log } = deps;
  const { executions, payloads, predictionCache, crashBlocklist, shadows } = deps.core;
  const { name: model, version, batching } = manifest;
  const settle = gather<Finished, Settled>(clock, MAX_SETTLED, (finished) =>
    executions.settle(model, version, finished),
  );
  const inHand = createInHand();
  const maxInFlight = depthOf(manifest.signature);
  const tuning = createTuning({ ...batching, maxInFlight }, hears.onPolicy);

  async function process(message: Message, lock?: string): Promise<void> {
    // Fetched just before.
    if (worker.isPaused()) return handBack(message, lock);
    const started = await executions.start(
      model,
      version,
      message.id ?? '',
      {
        maxInstances: tuning.policy.maxBatchSize,
        maxBytes: MAX_TICKET_BYTES,
      },
      hears.onUnstarted,
    );
    const outcomes = await Promise.allSettled(started.map(complete));
    const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    if (failures.length === 0) return;
    const failure = failures.find((reason) => !(reason instanceof Closing || reason instanceof RunElsewhere));
    if (failure) throw failure;
    await handBack(message, lock);
  }

  /** Another worker goes on at once with what this one had not begun. */
  async function handBack(message: Message, lock?: string): Promise<void> {
    await message.moveToWait(lock);
    throw new WaitingError();
  }

  async function complete({ input, ...job }: Started): Promise<void> {
    const { id } = job.spec;
    const execution = Number(job.token);
    log.debug({ job: id, execution }, 'started');
    const { end, output } = await run(job, input);
    // `void`: the job has ended meanwhile, or was started elsewhere.
    const status = await settle({ job, end, output });
    if (status === 'void') await payloads.discard(output?.blob ?? null);
    if (status === 'void') log.debug({ job: id, execution }, 'void');
    else log.debug({ job: id, execution, status }, 'settled');
    if (!job.spec.shadowOf) hears.onSettled(status, end.timings && batchOf(job.spec, end.timings));
  }

  /** A payload that cannot be read or written now is a failure that may go away. */
  async function run(job: Finished['job'], input: Stored): Promise<Pick<Finished, 'end' | 'output'>> {
    const { id } = job.spec;
    try {
      const bytes = await payloads.load(input);
      if (!bytes) return failed(jobError('internal', 'The input of this job is gone.'));
      const { end, output } = await execute(job, bytes);
      if (output && !end.error && job.spec.cache) keep(job.spec, output);
      if (job.spec.shadowOf) count(job.spec, output);
      return { end, output: output && (await payloads.storeOutput(id, job.token, output)) };
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'unavailable') throw error;
      deps.onError('payload', error);
      return failed(jobError('unavailable', error.message));
    }
  }

  /** Of a copy: how its predictions compare. */
  function count(spec: JobSpec, output: Buffer | null): void {
    shadows
      .count(spec, manifest.signature, output)
      .catch((error: unknown) => deps.onError('shadow', error as Error));
  }

  /** For equal jobs; without it they are computed. */
  function keep(spec: JobSpec, output: Buffer): void {
    predictionCache.keep(spec, output).catch((error: unknown) => deps.onError('answer', error as Error));
  }

  async function execute(job: Finished['job'], input: Buffer): Promise<Outcome> {
    const { spec } = job;
    const instances = unpackInstances(input);
    const known = await crashBlocklist.of(model, version);
    const isPoison = (index: number) => known.size > 0 && known.has(hashOf(instances[index] as Instance));
    const slices = sliceInstances(instances, manifest.signature, tuning.policy, isPoison);
    const progress = slices.length > 1 ? progressOf(job) : NO_PROGRESS;
    const held = inHand.hold();
    const unwatch = stops.watch(spec.id, () => held.drop(new Canceled()));
    try {
      const results = await Promise.race([runSlices(spec, slices, progress, held.signal), held.dropped]);
      await remember(slices, results);
      return joinResults(spec, slices, results, route.pool.backend.name);
    } catch (error) {
      // It has its end already: this one will be void.
      if (error instanceof Canceled) return failed(null);
      if (error instanceof OutOfTime) return failed(jobError('timeout'));
      throw error;
    } finally {
      held.release();
      unwatch();
      progress.stop();
    }
  }

  /** What has brought the backend down here is refused everywhere from now on. */
  async function remember(slices: readonly Slice[], results: readonly TaskResult<InstanceResult>[]) {
    const met = slices.flatMap(({ refused, instances }, index) =>
      refused ? [] : instances.filter((_, row) => isCrash(results[index]?.results[row])),
    );
    if (met.length > 0) await crashBlocklist.add(model, version, met.map(hashOf));
  }

  function progressOf(job: Finished['job']): ProgressMeter {
    return startProgress({
      clock,
      total: job.spec.instances,
      report: (progress) => executions.report(job, progress),
      onError: (error) => deps.onError('progress', error),
    });
  }

  /** The job's limit is for what it computes; waiting for others does not count. */
  async function runSlices(
    spec: JobSpec,
    slices: readonly Slice[],
    progress: ProgressMeter,
    signal: AbortSignal,
  ): Promise<TaskResult<InstanceResult>[]> {
    const results: TaskResult<InstanceResult>[] = new Array(slices.length);
    let leftMs = spec.timeoutSeconds * 1000;
    let next = 0;
    const lane = async () => {
      for (let index = next++; index < slices.length; index = next++) {
        const { refused, shape, instances, bytes } = slices[index] as Slice;
        if (refused) {
          results[index] = refusal(instances.length);
          continue;
        }
        if (leftMs <= 0) throw new OutOfTime();
        const result = await route.submit({
          kind: `${model}@${version}|${spec.shadowOf ? 'shadow|' : ''}${limitClass(spec)}|${shape}`,
          rank: PRIORITIES.indexOf(spec.priority),
          isBackground: spec.shadowOf !== undefined,
          policy: { ...tuning.policy, maxBatchSize: Math.max(tuning.policy.maxBatchSize, instances.length) },
          instances,
          bytes,
          timeoutMs: Math.max(leftMs, LEAST_LIMIT_MS),
          signal,
        });
        leftMs -= result.computeMs;
        results[index] = result;
        countElements(instances, result.batchSize);
        progress.add(instances.length);
      }
    };
    const atOnce = Math.min(SLICES_AT_ONCE * route.pool.childCount, slices.length);
    await Promise.all(Array.from({ length: atOnce }, lane));
    return results;
  }

  /** What was added to a batch is shared by those in it. */
  function countElements(instances: readonly Instance[], batchSize: number): void {
    const added = filledSize(batching, batchSize) / batchSize - 1;
    for (const instance of instances) {
      const { real, padding } = paddingOf(manifest.signature, instance);
      hears.onPadding({ real, padding: padding + added * (real + padding) });
    }
  }

  /** One for each batch with a child, and one that is being fetched or settled. */
  const tickets = () => route.pool.childCount * (maxInFlight + 1);

  const worker = new Worker(inferenceQueue(model, version), process, {
    ...WORKER_OPTIONS,
    connection: deps.queueRedis,
    prefix: deps.prefix,
    concurrency: tickets(),
  });
  worker.on('error', (error) => deps.onError('queue', error));
  worker.on('failed', (_, error) => deps.onError('ticket handed back', error));

  return {
    poolChanged() {
      worker.concurrency = tickets();
      const standsStill = route.pool.standsStill();
      if (standsStill === worker.isPaused()) return;
      log.warn({ model, version }, standsStill ? 'handing back what was taken' : 'taking jobs again');
      if (!standsStill) return void worker.resume();
      void worker.pause(true);
      inHand.dropAll(new StandsStill());
    },
    async close() {
      const closed = worker.close();
      inHand.leaveAll(new Closing());
      await closed;
    },
  };
}

function isCrash(result: InstanceResult | undefined): boolean {
  return result?.ok === false && result.code === 'input_crashed_backend';
}

function hashOf(instance: Instance): string {
  return createHash('sha256')
    .update(packInstances([instance]))
    .digest('hex');
}

function failed(error: JobError | null): { end: JobEnd; output: null } {
  return { end: { error, usageMs: 0, timings: null }, output: null };
}

/** This worker ends: what it has not begun to compute is for others. */
class Closing extends Error {
  constructor() {
    super('The worker is closing.');
  }
}

/** The job was canceled; its batch goes on for the others. */
class Canceled extends Error {}

/** The job's slices have computed for as long as it may. */
class OutOfTime extends Error {}

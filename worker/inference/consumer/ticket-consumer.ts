/**
 * Ticket consumer of one version's queue: takes a ticket, holds it for a tenure (tenure.ts) in which it runs jobs (job-run.ts) and
 * settles their records, and only then lets BullMQ forget the ticket.
 *
 *   taking -> standing still (nothing computes here) -> taking again          closed at the end
 *
 * Promise: a job that was not computed when the worker ends, or when nothing computes here any more, is not settled. Its ticket
 * goes back to the queue.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../../shared/base/clock.js';
import type { Logger } from '../../../shared/base/log.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Core } from '../../../shared/core/compose.js';
import type {
  Exchanged,
  Finished,
  Settled,
  Started,
  TicketHold,
  Turn,
  Unstarted,
} from '../../../shared/core/jobs/executions.js';
import type { JobBatch } from '../../../shared/core/models/version-outcomes.js';
import type { Job as Ticket } from '../../../shared/queue/bullmq.js';
import { inferenceQueue } from '../../../shared/queue/catalog.js';
import { handBack, startConsumer } from '../../../shared/queue/consumer.js';
import type { Redis } from '../../../shared/redis/connect.js';
import { createBatchTuner } from '../batching/batch-tuner.js';
import type { BatchPolicy } from '../batching/batcher.js';
import { pipelineDepthOf } from '../batching/pipeline-depth.js';
import { RunElsewhere, StandsStill } from '../pool/run-elsewhere.js';
import type { VersionRoute } from '../versions/version-route.js';
import { createHeldJobs } from './held-jobs.js';
import { createJobRun } from './job-run.js';
import { createSliceRunner } from './slice-runner.js';
import { batchOf } from './slices.js';
import { LeftBehind, startTenure, type Tenure } from './tenure.js';
import type { WorkerNotices } from './worker-notices.js';

export interface TicketConsumerDeps {
  manifest: Manifest;
  core: Core;
  workerNotices: WorkerNotices;
  route: VersionRoute;
  /** The connection of BullMQ. */
  queueRedis: Redis;
  prefix: string;
  listener: TicketConsumerListener;
  clock: Clock;
  log: Logger;
  onError: (kind: string, error: Error) => void;
}

export interface TicketConsumerListener {
  /** Batches are made by this policy from now on. */
  onPolicy(policy: BatchPolicy): void;
  /** So many elements of an instance were computed, and so many elements of padding came to them. */
  onPadding(elements: { real: number; padding: number }): void;
  /** A caller's job was settled; `batch` is null when it was in none. */
  onSettled(status: Settled, batch: JobBatch | null): void;
  /** Callers' jobs were to be started and ended instead. */
  onUnstarted(unstarted: Unstarted): void;
}

export interface TicketConsumer {
  /** The version serves from another pool, or its pool stands still or has begun to compute again. */
  poolChanged(): void;
  /** Takes no more jobs, hands back those it has not begun to compute, and resolves when the others are settled. */
  close(): Promise<void>;
}

/** Bound of the input that is started in one turn. */
const MAX_SHARE_BYTES = 32 * 1024 * 1024;

/** Starts to take tickets of the version. */
export function startTicketConsumer(deps: TicketConsumerDeps): TicketConsumer {
  const { manifest, core, workerNotices, route, listener, clock, log, onError } = deps;
  const { executions, payloads } = core;
  const { name: model, version, batching, signature } = manifest;
  const tenures = new Set<Tenure>();
  const heldJobs = createHeldJobs();
  const maxInFlight = pipelineDepthOf(signature);
  const tuner = createBatchTuner({ ...batching, maxInFlight }, listener.onPolicy);
  const { onPadding } = listener;
  const sliceRunner = createSliceRunner({ manifest, route, tuner, onPadding });
  const run = createJobRun({
    manifest,
    core,
    workerNotices,
    heldJobs,
    tuner,
    sliceRunner,
    route,
    clock,
    onError,
  });

  async function take(ticket: Ticket, lock?: string): Promise<void> {
    const leftOver = await holdFor(ticket.id ?? '');
    if (leftOver.length === 0) return;
    const failure = leftOver.find((reason) => !isForOthers(reason));
    if (failure) throw failure;
    // Another worker goes on at once with what this one had not begun.
    await handBack(ticket, lock);
  }

  /** Resolves with why jobs are left under the ticket. */
  async function holdFor(ticket: string): Promise<unknown[]> {
    const hold = { ticket, tenure: randomUUID(), bell: workerNotices.bell };
    const tenure = startTenure({
      exchange: (turn) => exchange(hold, turn),
      compute,
      settled,
      maxShares,
      share: () => ({ maxInstances: tuner.policy.maxBatchSize, maxBytes: MAX_SHARE_BYTES }),
      clock,
    });
    tenures.add(tenure);
    const stopListening = workerNotices.onRing(hold.tenure, tenure.ring);
    try {
      return await tenure.ended;
    } finally {
      stopListening();
      tenures.delete(tenure);
    }
  }

  async function exchange(hold: TicketHold, turn: Turn): Promise<Exchanged> {
    const exchanged = await executions.exchange(model, version, hold, turn);
    listener.onUnstarted(exchanged.unstarted);
    return exchanged;
  }

  async function compute({ input, ...job }: Started): Promise<Finished> {
    log.debug({ job: job.spec.id, execution: Number(job.token) }, 'started');
    return { job, ...(await run(job, input)) };
  }

  /** A job is void when it has ended meanwhile, or was started elsewhere. */
  async function settled({ job, end, output }: Finished, status: Settled): Promise<void> {
    const { id, shadowOf } = job.spec;
    const execution = Number(job.token);
    if (status === 'void') await payloads.discard(output?.blob ?? null);
    if (status === 'void') log.debug({ job: id, execution }, 'void');
    else log.debug({ job: id, execution, status }, 'settled');
    if (!shadowOf) listener.onSettled(status, end.timings && batchOf(job.spec, end.timings));
  }

  /** Returns one share for each batch that may be with a child, and one that is being fetched or settled. */
  const maxShares = () => route.pool.childCount * (maxInFlight + 1);

  const consumer = startConsumer({
    redis: deps.queueRedis,
    prefix: deps.prefix,
    queue: inferenceQueue(model, version),
    slots: 1,
    take,
    clock,
    onFault: (error) => onError('queue', error),
    onFailed: (error) => onError('ticket handed back', error),
  });

  return {
    poolChanged() {
      const standsStill = route.pool.standsStill();
      // There may be room for more shares now.
      for (const tenure of tenures) standsStill ? tenure.close() : tenure.ring();
      if (standsStill === consumer.isPaused()) return;
      log.warn({ model, version }, standsStill ? 'handing back what was taken' : 'taking jobs again');
      if (!standsStill) return consumer.resume();
      consumer.pause();
      heldJobs.dropAll(new StandsStill());
    },
    async close() {
      const closed = consumer.close();
      for (const tenure of tenures) tenure.close();
      heldJobs.leaveAll(new Closing());
      await closed;
    },
  };
}

function isForOthers(reason: unknown): boolean {
  return reason instanceof Closing || reason instanceof RunElsewhere || reason instanceof LeftBehind;
}

/** This worker ends: what it has not begun to compute is for others. */
class Closing extends Error {
  constructor() {
    super('The worker is closing.');
  }
}

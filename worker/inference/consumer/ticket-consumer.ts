/**
 * Ticket consumer of one version's queue: takes a ticket, starts jobs for it, runs them (job-run.ts), settles their records,
 * and only then lets BullMQ forget the ticket.
 *
 *   taking -> standing still (nothing computes here) -> taking again          closed at the end
 *
 * Promises:
 *   - A job that was not computed when the worker ends, or when nothing computes here any more, is not settled. Its ticket
 *     goes back to the queue.
 *   - Jobs that end in one turn of the event loop, as those of a batch do, are settled in one call.
 */

import type { Clock } from '../../../shared/base/clock.js';
import { gather } from '../../../shared/base/gather.js';
import type { Logger } from '../../../shared/base/log.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Core } from '../../../shared/core/compose.js';
import type { Finished, Settled, Started, Unstarted } from '../../../shared/core/jobs/executions.js';
import type { JobBatch } from '../../../shared/core/models/version-outcomes.js';
import { type Job as Ticket, WaitingError } from '../../../shared/queue/bullmq.js';
import { inferenceQueue } from '../../../shared/queue/catalog.js';
import { startConsumer } from '../../../shared/queue/consumer.js';
import type { Redis } from '../../../shared/redis/connect.js';
import { createBatchTuner } from '../batching/batch-tuner.js';
import type { BatchPolicy } from '../batching/batcher.js';
import { pipelineDepthOf } from '../batching/pipeline-depth.js';
import { RunElsewhere, StandsStill } from '../pool/run-elsewhere.js';
import type { VersionRoute } from '../versions/version-route.js';
import type { CancelNotices } from './cancel-notices.js';
import { createHeldJobs } from './held-jobs.js';
import { createJobRun } from './job-run.js';
import { createSliceRunner } from './slice-runner.js';
import { batchOf } from './slices.js';

export interface TicketConsumerDeps {
  manifest: Manifest;
  core: Core;
  cancelNotices: CancelNotices;
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

/** Bound of the input that is held under one ticket. */
const MAX_TICKET_BYTES = 32 * 1024 * 1024;
/** Bound of the jobs that are settled in one call. */
const MAX_SETTLED = 256;

/** Starts to take tickets of the version. */
export function startTicketConsumer(deps: TicketConsumerDeps): TicketConsumer {
  const { manifest, core, cancelNotices, route, listener, clock, log, onError } = deps;
  const { executions, payloads } = core;
  const { name: model, version, batching, signature } = manifest;
  const settle = gather<Finished, Settled>(clock, MAX_SETTLED, (finished) =>
    executions.settle(model, version, finished),
  );
  const heldJobs = createHeldJobs();
  const maxInFlight = pipelineDepthOf(signature);
  const tuner = createBatchTuner({ ...batching, maxInFlight }, listener.onPolicy);
  const { onPadding } = listener;
  const sliceRunner = createSliceRunner({ manifest, route, tuner, onPadding });
  const run = createJobRun({
    manifest,
    core,
    cancelNotices,
    heldJobs,
    tuner,
    sliceRunner,
    route,
    clock,
    onError,
  });

  async function take(ticket: Ticket, lock?: string): Promise<void> {
    // A ticket may have been fetched just before the worker was paused.
    if (consumer.isPaused()) return handBack(ticket, lock);
    const bounds = { maxInstances: tuner.policy.maxBatchSize, maxBytes: MAX_TICKET_BYTES };
    const started = await executions.start(model, version, ticket.id ?? '', bounds, listener.onUnstarted);
    const ends = await Promise.allSettled(started.map(complete));
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
    if (failures.length === 0) return;
    const failure = failures.find((reason) => !(reason instanceof Closing || reason instanceof RunElsewhere));
    if (failure) throw failure;
    await handBack(ticket, lock);
  }

  /** Another worker goes on at once with what this one had not begun. */
  async function handBack(ticket: Ticket, lock?: string): Promise<void> {
    await ticket.moveToWait(lock);
    throw new WaitingError();
  }

  async function complete({ input, ...job }: Started): Promise<void> {
    const { id, shadowOf } = job.spec;
    const execution = Number(job.token);
    log.debug({ job: id, execution }, 'started');
    const { end, output } = await run(job, input);
    // A job is void when it has ended meanwhile, or was started elsewhere.
    const status = await settle({ job, end, output });
    if (status === 'void') await payloads.discard(output?.blob ?? null);
    if (status === 'void') log.debug({ job: id, execution }, 'void');
    else log.debug({ job: id, execution, status }, 'settled');
    if (!shadowOf) listener.onSettled(status, end.timings && batchOf(job.spec, end.timings));
  }

  /** Returns one ticket for each batch that may be with a child, and one that is being fetched or settled. */
  const tickets = () => route.pool.childCount * (maxInFlight + 1);

  const consumer = startConsumer({
    redis: deps.queueRedis,
    prefix: deps.prefix,
    queue: inferenceQueue(model, version),
    slots: tickets(),
    take,
    clock,
    onFault: (error) => onError('queue', error),
    onFailed: (error) => onError('ticket handed back', error),
  });

  return {
    poolChanged() {
      consumer.setSlots(tickets());
      const standsStill = route.pool.standsStill();
      if (standsStill === consumer.isPaused()) return;
      log.warn({ model, version }, standsStill ? 'handing back what was taken' : 'taking jobs again');
      if (!standsStill) return consumer.resume();
      consumer.pause();
      heldJobs.dropAll(new StandsStill());
    },
    async close() {
      const closed = consumer.close();
      heldJobs.leaveAll(new Closing());
      await closed;
    },
  };
}

/** This worker ends: what it has not begun to compute is for others. */
class Closing extends Error {
  constructor() {
    super('The worker is closing.');
  }
}

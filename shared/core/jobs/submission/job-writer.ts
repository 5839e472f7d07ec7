/**
 * Writes the record of a new job, queued, and hands a wake ticket for its queue to the transport unless one is out already. A lone
 * job for which a worker stands by is started in the same step, and sent to that worker.
 * A job whose predictions were kept for an equal one is succeeded at once.
 *
 * Promises: an Idempotency-Key makes one job, however often it comes. A record is written whole or not at all; a large input
 * is stored before its record, and deleted again when no job came of it.
 */

import { LRUCache } from 'lru-cache';
import type { Clock } from '../../../base/clock.js';
import { gather } from '../../../base/gather.js';
import { SluiceError } from '../../../contract/errors.js';
import { type JobEnd, type JobRecord, type JobSpec, PRIORITIES } from '../../../contract/job.js';
import { JOB_EVENTS } from '../../../contract/webhooks/events.js';
import type { Redis } from '../../../redis/connect.js';
import type { Keys } from '../../../redis/keys.js';
import { loadScript } from '../../../redis/load-script.js';
import { type Idempotency, idempotencyValues } from '../../idempotency.js';
import { closedVersion, isClosedBy } from '../../models/closed-version.js';
import type { WakeTickets } from '../../queues/wake-tickets.js';
import type { JobLimits } from '../job-limits.js';
import type { Jobs } from '../jobs.js';
import type { Payloads } from '../payloads.js';
import type { PredictionCache } from '../prediction-cache.js';
import type { SettleJobs } from '../settle.js';
import { createFullQueue } from './full-queue.js';

export interface NewJob {
  spec: JobSpec;
  /** The job expires if it has not started by then. */
  ttlSeconds: number;
  /** How long the job is kept once it has ended; by default as long as its tenant's jobs are. */
  retentionSeconds?: number | undefined;
  /** Packed instances. */
  input: Buffer;
  /** The channel of the process that waits for the job's end (job-notices.ts). */
  awaitedBy?: string | undefined;
  /** The most jobs of its model that may be queued, where its version allows fewer than the operator. */
  maxEnqueued?: number | undefined;
}

export interface Submitted {
  record: JobRecord;
  /** An earlier call with the same Idempotency-Key made the job. */
  replayed: boolean;
}

export interface JobWriterDeps {
  redis: Redis;
  keys: Keys;
  jobs: Pick<Jobs, 'get'>;
  wakeTickets: WakeTickets;
  settleJobs: SettleJobs;
  payloads: Payloads;
  predictionCache: PredictionCache;
  limits: JobLimits;
  clock: Clock;
}

/** A job with what its record holds beside it. */
interface Entry {
  job: NewJob;
  inline: Buffer;
  idempotency: Idempotency | undefined;
}

export type JobWriter = ReturnType<typeof createJobWriter>;

/** Upkeep first looks at a queued record after this time, and repairs a ticket that was lost. */
export const CHECK_QUEUED_AFTER_MS = 5000;
/** Bound of the jobs that are written in one call. */
const MAX_TOGETHER = 64;
/** The queues for which a process remembers how it writes; others are remembered when they are used again. */
const MAX_QUEUES = 1000;
/** Stands for a channel or for events, when there are none. */
const NONE = '-';
/** The events of a job of which nobody is told anything, as scripts read them. */
export const EVENTS_OF_NONE = 'none';
const CACHED = JSON.stringify({ error: null, usageMs: 0, timings: null, cached: true } satisfies JobEnd);

/** Returns the writer of new jobs. */
export function createJobWriter(deps: JobWriterDeps) {
  const { redis, keys, jobs, wakeTickets, settleJobs, payloads, predictionCache, limits, clock } = deps;
  const submitJobs = loadScript(redis, 'submit-jobs');
  const submitAlone = loadScript(redis, 'submit-jobs', { isAlone: true });
  const fullQueue = createFullQueue();
  const queues = new LRUCache<string, (entry: Entry) => Promise<string[]>>({ max: MAX_QUEUES });

  /**
   * Stores the input of a job and writes its record.
   * @throws {SluiceError} `queue_full`, `queue_full_for_tenant`; `idempotency_key_reused` for a key that came with another body;
   *   `not_found` when the job of a key that holds, or of this very call, is no longer kept; `version_retired`,
   *   `model_not_found` for a version that was closed since it was resolved.
   */
  async function write(job: NewJob, idempotency?: Idempotency): Promise<Submitted> {
    const { blob, inline } = await payloads.storeInput(job.spec.id, job.input);
    if (blob === null) return writeRecord(job, inline, idempotency);
    let keep = false;
    try {
      const spec = { ...job.spec, inputBlob: blob };
      const submitted = await writeRecord({ ...job, spec }, inline, idempotency);
      keep = !submitted.replayed;
      return submitted;
    } catch (error) {
      // After any other error the record may stand all the same, because only the answer of Redis was lost.
      keep = !(error instanceof SluiceError);
      throw error;
    } finally {
      if (!keep) await payloads.discard(blob);
    }
  }

  async function writeRecord(job: NewJob, inline: Buffer, idempotency?: Idempotency): Promise<Submitted> {
    const { spec, ttlSeconds } = job;
    const { tenant, model, version } = spec;
    const kept = await predictionCache.find(spec);
    const entry = { job, inline, idempotency };
    // Both commands of a job that is to end by kept predictions travel together: it has ended before its ticket goes out. It is
    // sent to nobody.
    const [[outcome = '', ...details] = [], isCached] = kept
      ? await Promise.all([
          submitAll([entry], submitJobs, false).then(([row]) => row),
          endByCache(spec, kept),
        ])
      : [await submitTogether(entry), false];
    if (isClosedBy(outcome)) throw closedVersion(outcome, model, version);
    switch (outcome) {
      case 'created': {
        const [createdAt, ticket] = details;
        await wakeTickets.handOver(model, version, ticket);
        const ended = isCached ? await jobs.get(tenant, spec.id) : null;
        return { replayed: false, record: ended ?? queuedRecord(spec, Number(createdAt), ttlSeconds) };
      }
      case 'replayed': {
        const record = await jobs.get(tenant, details[0] ?? '');
        if (!record) throw new SluiceError('not_found', 'The job of this Idempotency-Key is no longer kept.');
        return { replayed: true, record };
      }
      case 'mismatch':
        throw new SluiceError('idempotency_key_reused');
      default: {
        const code = outcome === 'tenant_full' ? 'queue_full_for_tenant' : 'queue_full';
        const [ofTenant, ofModel, startedJobs, busyMs] = details;
        const queued = { ofTenant: Number(ofTenant), ofModel: Number(ofModel) };
        throw fullQueue.refuse({ code, tenant, model, ...queued, startedJobs, busyMs });
      }
    }
  }

  /** Jobs of one queue that come in one turn of the event loop cost one call. */
  function submitTogether(entry: Entry): Promise<string[]> {
    const { model, version } = entry.job.spec;
    const queue = `${model}@${version}`;
    const submit =
      queues.get(queue) ??
      gather(clock, MAX_TOGETHER, (entries: Entry[]) => submitAll(entries, submitAlone, true));
    queues.set(queue, submit);
    return submit(entry);
  }

  /** Submits jobs of one queue; there is at least one. A lone one may start at once, where that `sends`. */
  function submitAll(
    entries: readonly Entry[],
    submit: typeof submitJobs,
    sends: boolean,
  ): Promise<string[][]> {
    const [{ job }] = entries as [Entry];
    const { model, version } = job.spec;
    return submit(
      {
        waitingKey: keys.waiting(model, version),
        dueIndexKey: keys.dueIndex,
        queuedKey: keys.queued,
        queueKey: keys.queue(model, version),
        pausedKey: keys.paused,
        modelKey: keys.model(model),
        numbersKey: keys.versionNumbers,
        outboxKey: keys.outbox,
        subscribedKey: keys.subscribed,
        jobPrefix: keys.job(''),
        model,
        version,
        maxTenantJobs: limits.maxQueuedPerTenant,
        maxTenantBytes: limits.maxQueuedBytesPerTenant,
        maxModelJobs: Math.min(limits.maxQueuedPerModel, job.maxEnqueued ?? Number.POSITIVE_INFINITY),
        maxModelBytes: limits.maxQueuedBytesPerModel,
        checkAfterMs: CHECK_QUEUED_AFTER_MS,
        takenPrefix: keys.taken(model, version, ''),
        sends: sends ? '1' : '',
      },
      entries.map(valuesOf),
    );
  }

  function valuesOf({ job, inline, idempotency }: Entry) {
    const { spec, ttlSeconds, retentionSeconds, input, awaitedBy } = job;
    const { id, tenant, instances } = spec;
    return {
      id,
      tenant,
      tenantJobsKey: keys.tenantJobs(tenant),
      spec: JSON.stringify(spec),
      input: inline,
      bytes: input.length,
      instances,
      cost: instances / (limits.weights.get(tenant) ?? 1),
      ttlMs: ttlSeconds * 1000,
      rank: PRIORITIES.indexOf(spec.priority),
      events: eventsOf(spec),
      keptSeconds: retentionSeconds ?? limits.retentions.get(tenant) ?? limits.retentionSeconds,
      isLine: spec.untold ? '1' : '',
      awaitedBy: awaitedBy ?? NONE,
      ...idempotencyValues(keys, tenant, idempotency, keys.job(id)),
      keyHolds: Number(idempotency?.holds ?? false),
    };
  }

  /**
   * Ends a job by predictions that were kept. Returns true when the job has succeeded, be it by a worker that was at the queue
   * anyway, or by an earlier call of ours whose answer was lost; its record tells which.
   */
  async function endByCache({ id, model, version }: JobSpec, output: Buffer | null): Promise<boolean> {
    if (!output) return false;
    const ending = { id, status: 'succeeded', from: ',queued,', end: CACHED, output } as const;
    const [outcome] = await settleJobs(model, version, [ending]);
    return outcome === 'settled' || outcome === 'succeeded';
  }

  return { write, demandRoom: fullQueue.demandRoom };
}

function queuedRecord(spec: JobSpec, createdAt: number, ttlSeconds: number): JobRecord {
  return {
    spec,
    status: 'queued',
    createdAt,
    expiresAt: createdAt + ttlSeconds * 1000,
    startedAt: null,
    finishedAt: null,
    deletedAfter: null,
    attempts: 0,
    starts: 0,
    progress: null,
    ticket: null,
    history: [],
    end: null,
  };
}

/** Returns the events that the job's own webhook is told, as scripts read them: ",job.failed,". */
function eventsOf({ webhook, untold }: JobSpec): string {
  if (untold) return EVENTS_OF_NONE;
  return webhook ? `,${(webhook.events ?? JOB_EVENTS).join(',')},` : NONE;
}

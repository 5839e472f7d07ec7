/**
 * Writes the record of a new job, queued, and hands a wake ticket for its queue to the transport unless one is out already.
 * A job whose predictions were kept for an equal one is succeeded at once.
 *
 * Promises: an Idempotency-Key makes one job, however often it comes. A record is written whole or not at all; a large input
 * is stored before its record, and deleted again when no job came of it.
 */
import { sha256Of } from '../../../base/hash.js';
import { SluiceError } from '../../../contract/errors.js';
import { type JobEnd, type JobRecord, type JobSpec, PRIORITIES } from '../../../contract/job.js';
import { JOB_EVENTS } from '../../../contract/webhooks/events.js';
import { defineScript, type Redis } from '../../../redis/connect.js';
import type { Keys } from '../../../redis/keys.js';
import type { WakeTickets } from '../../queues/wake-tickets.js';
import type { JobLimits } from '../job-limits.js';
import { SUBMIT } from '../job-scripts.js';
import type { Jobs } from '../jobs.js';
import type { Payloads } from '../payloads.js';
import type { PredictionCache } from '../prediction-cache.js';
import { TOLD_TO_NOBODY } from '../script-parts.js';
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
  /** The most jobs of its model that may be queued, where its version allows fewer than the operator. */
  maxEnqueued?: number | undefined;
}

/** An Idempotency-Key in its scope; `fingerprint` identifies the body that came with it. */
export interface Idempotency {
  route: string;
  key: string;
  fingerprint: string;
  /** A day by default. */
  keptSeconds?: number;
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
}

export type JobWriter = ReturnType<typeof createJobWriter>;

const IDEMPOTENCY_SECONDS = 24 * 3600;
const CACHED = JSON.stringify({ error: null, usageMs: 0, timings: null, cached: true } satisfies JobEnd);

/** Returns the writer of new jobs. */
export function createJobWriter(deps: JobWriterDeps) {
  const { redis, keys, jobs, wakeTickets, settleJobs, payloads, predictionCache, limits } = deps;
  const submitScript = defineScript<string[]>(redis, SUBMIT);
  const fullQueue = createFullQueue();

  /**
   * Stores the input of a job and writes its record.
   * @throws {SluiceError} `queue_full`, `queue_full_for_tenant`; `idempotency_key_reused` for a key that came with another body;
   *   `not_found` when the job of the key is no longer kept.
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
    // Both commands travel together: the job ends by kept predictions before its ticket goes out.
    const [[outcome, ...details], isCached] = await Promise.all([
      callSubmit(job, inline, idempotency),
      endByCache(spec, kept),
    ]);
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

  function callSubmit(job: NewJob, inline: Buffer, idempotency?: Idempotency): Promise<string[]> {
    const { spec, ttlSeconds, retentionSeconds, input, maxEnqueued = Number.POSITIVE_INFINITY } = job;
    const { id, tenant, model, version, instances } = spec;
    return submitScript(
      [
        keys.job(id),
        keys.waiting(model, version),
        keys.dueIndex,
        keys.tenantJobs(tenant),
        keys.queued,
        keys.queue(model, version),
        keys.paused,
        idempotency ? keys.idempotency(tenant, idempotency.route, sha256Of(idempotency.key)) : keys.job(id),
      ],
      [
        id,
        tenant,
        model,
        JSON.stringify(spec),
        inline,
        instances,
        instances / (limits.weights.get(tenant) ?? 1),
        ttlSeconds * 1000,
        PRIORITIES.indexOf(spec.priority),
        eventsOf(spec),
        limits.maxQueuedPerTenant,
        limits.maxQueuedBytesPerTenant,
        Math.min(limits.maxQueuedPerModel, maxEnqueued),
        limits.maxQueuedBytesPerModel,
        idempotency?.fingerprint ?? '',
        idempotency?.keptSeconds ?? IDEMPOTENCY_SECONDS,
        input.length,
        retentionSeconds ?? limits.retentions.get(tenant) ?? limits.retentionSeconds,
      ],
    );
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
  if (untold) return TOLD_TO_NOBODY;
  return webhook ? `,${(webhook.events ?? JOB_EVENTS).join(',')},` : '';
}

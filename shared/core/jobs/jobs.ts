/**
 * Jobs: a caller's side of them. Our record is the truth; the transport only calls workers to it.
 *
 *   submit   writes the record (queued) and, unless one is out, hands a ticket for its queue to the transport.
 *            With predictions that were kept for equal jobs it is queued -> succeeded at once.
 *   cancel   queued | running -> canceled        expire   queued -> expired
 *   retry    a new job with the input of one that has ended        erase   forgets one that has ended
 *
 * Promises: an accepted job ends in exactly one terminal state, which never changes, with at most one result; whoever
 * comes second is told that it was refused. Another tenant's job does not exist.
 */
import { LRUCache } from 'lru-cache';
import { sha256Of } from '../../base/hash.js';
import { SluiceError } from '../../contract/errors.js';
import {
  isTerminal,
  type JobEnd,
  type JobRecord,
  type JobSpec,
  PRIORITIES,
  type TerminalStatus,
} from '../../contract/job.js';
import { JOB_EVENTS } from '../../contract/webhooks/events.js';
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { ratePerSecond } from '../queues/queue-status.js';
import type { WakeTickets } from '../queues/wake-tickets.js';
import type { JobLimits } from './job-limits.js';
import { createJobList } from './job-list.js';
import { decodeRecord, RECORD_FIELDS } from './job-record.js';
import { ERASE, SUBMIT } from './job-scripts.js';
import type { Payloads } from './payloads.js';
import type { PredictionCache } from './prediction-cache.js';
import { TOLD_TO_NOBODY } from './script-parts.js';
import { EXPIRED, endText, type SettleJobs } from './settle.js';

/** How long an Idempotency-Key is remembered. */
const IDEMPOTENCY_SECONDS = 24 * 3600;
/** A caller that met a full queue is asked to come back when this share of the bound has been worked off. */
const ROOM = 0.1;
const MAX_RETRY_SECONDS = 300;
/** For so long a refusal stands for those that follow. */
const REMEMBER_FULL_MS = 100;
/** Hint while no rate is known. */
const UNKNOWN_RETRY_SECONDS = 5;

export interface JobsDeps {
  redis: Redis;
  keys: Keys;
  wakeTickets: WakeTickets;
  settleJobs: SettleJobs;
  payloads: Payloads;
  predictionCache: PredictionCache;
  limits: JobLimits;
}

export interface NewJob {
  spec: JobSpec;
  ttlSeconds: number;
  /** How long it is kept once it has ended; the tenant's where it is left out. */
  retentionSeconds?: number | undefined;
  /** Packed instances. */
  input: Buffer;
  /** Jobs of its model that may be queued, where its version allows fewer than the operator. */
  maxEnqueued?: number | undefined;
}

/** An Idempotency-Key in its scope; `fingerprint` identifies the body it came with. */
export interface Idempotency {
  route: string;
  key: string;
  fingerprint: string;
  /** A day unless told. */
  keptSeconds?: number;
}

export interface Submitted {
  replayed: boolean;
  record: JobRecord;
}

export type Jobs = ReturnType<typeof createJobs>;

export function createJobs({
  redis,
  keys,
  wakeTickets,
  settleJobs,
  payloads,
  predictionCache,
  limits,
}: JobsDeps) {
  const refusals = new LRUCache<string, SluiceError>({ max: 1000, ttl: REMEMBER_FULL_MS });
  const submitScript = defineScript<string[]>(redis, 'sluiceSubmit', SUBMIT);
  const eraseScript = defineScript<string>(redis, 'sluiceErase', ERASE);

  /** A large input is stored first, and taken away again when no job came of it. */
  async function submit(job: NewJob, idempotency?: Idempotency): Promise<Submitted> {
    const { blob, inline } = await payloads.storeInput(job.spec.id, job.input);
    if (blob === null) return write(job.spec, inline, job, idempotency);
    let keep = false;
    try {
      const submitted = await write({ ...job.spec, inputBlob: blob }, inline, job, idempotency);
      keep = !submitted.replayed;
      return submitted;
    } catch (error) {
      // Unknown: the record may stand all the same.
      keep = !(error instanceof SluiceError);
      throw error;
    } finally {
      if (!keep) await payloads.discard(blob);
    }
  }

  async function write(
    spec: JobSpec,
    inline: Buffer,
    { ttlSeconds, retentionSeconds, input, maxEnqueued = Number.POSITIVE_INFINITY }: NewJob,
    idempotency?: Idempotency,
  ): Promise<Submitted> {
    const kept = await predictionCache.find(spec);
    const submitting = submitScript(
      [
        keys.job(spec.id),
        keys.waiting(spec.model, spec.version),
        keys.dueIndex,
        keys.tenantJobs(spec.tenant),
        keys.queued,
        keys.queue(spec.model, spec.version),
        keys.paused,
        idempotency
          ? keys.idempotency(spec.tenant, idempotency.route, sha256Of(idempotency.key))
          : keys.job(spec.id),
      ],
      [
        spec.id,
        spec.tenant,
        spec.model,
        JSON.stringify(spec),
        inline,
        spec.instances,
        spec.instances / (limits.weights.get(spec.tenant) ?? 1),
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
        retentionSeconds ?? limits.retentions.get(spec.tenant) ?? limits.retentionSeconds,
      ],
    );
    const [[outcome, ...details], isAnswered] = await Promise.all([submitting, answer(spec, kept)]);
    switch (outcome) {
      case 'created': {
        const [createdAt, ticket] = details;
        await wakeTickets.handOver(spec.model, spec.version, ticket);
        const answered = isAnswered ? await get(spec.tenant, spec.id) : null;
        if (answered) return { replayed: false, record: answered };
        return { replayed: false, record: queuedRecord(spec, Number(createdAt), ttlSeconds) };
      }
      case 'replayed':
        return { replayed: true, record: await replayed(spec.tenant, details[0] ?? '') };
      case 'mismatch':
        throw new SluiceError('idempotency_key_reused');
      default:
        throw full(spec, outcome === 'tenant_full' ? 'queue_full_for_tenant' : 'queue_full', details);
    }
  }

  /**
   * Throws what a submit for this queue was refused with a moment ago: under overload most are, and one that cannot
   * succeed should cost nothing more. Not for one with an Idempotency-Key: its job may be there.
   */
  function demandRoom(tenant: string, model: string): void {
    const refusal = refusals.get(model) ?? refusals.get(`${model} ${tenant}`);
    if (refusal) throw refusal;
  }

  /** When to come back, from how fast jobs are started now. A tenant's share of that is its share of the queue. */
  function full(
    { tenant, model }: JobSpec,
    code: 'queue_full_for_tenant' | 'queue_full',
    details: readonly string[],
  ): SluiceError {
    const [ofTenant = 0, ofModel = 0] = details.slice(0, 2).map(Number);
    const rate = ratePerSecond(details.slice(2));
    const [queued, share] =
      code === 'queue_full' ? [ofModel, 1] : [ofTenant, ofTenant / Math.max(ofModel, 1)];
    const seconds =
      rate === null ? UNKNOWN_RETRY_SECONDS : Math.ceil((ROOM * queued) / (rate * Math.min(share, 1)));
    const error = new SluiceError(code, undefined, {
      retryAfterSeconds: clamp(seconds, 1, MAX_RETRY_SECONDS),
    });
    refusals.set(code === 'queue_full' ? model : `${model} ${tenant}`, error);
    return error;
  }

  async function replayed(tenant: string, id: string): Promise<JobRecord> {
    const record = await get(tenant, id);
    if (!record) throw new SluiceError('not_found', 'The job of this Idempotency-Key is no longer kept.');
    return record;
  }

  async function get(tenant: string, id: string): Promise<JobRecord | null> {
    const record = decodeRecord(await redis.hmget(keys.job(id), ...RECORD_FIELDS));
    return record?.spec.tenant === tenant ? record : null;
  }

  /** The record and, once succeeded, its packed predictions: one read. */
  async function getWithOutput(
    tenant: string,
    id: string,
  ): Promise<{ record: JobRecord; output: Buffer | null } | null> {
    const [output = null, ...values] = await redis.hmgetBuffer(keys.job(id), 'output', ...RECORD_FIELDS);
    const record = decodeRecord(values);
    if (record?.spec.tenant !== tenant) return null;
    const blob = record.end?.outputBlob ?? null;
    return { record, output: blob === null ? output : await payloads.load({ inline: EMPTY, blob }) };
  }

  async function existing(tenant: string, id: string): Promise<JobRecord> {
    const record = await get(tenant, id);
    if (!record) throw new SluiceError('not_found', 'There is no such job.');
    return record;
  }

  /**
   * Ends a job by predictions that were kept, in the same breath as it is submitted: before its ticket goes out. False when
   * there are none, or a worker that was at the queue anyway has it. True also where it had succeeded before: by us, without
   * our hearing of it, or by that worker; its record says which.
   */
  async function answer({ id, model, version }: JobSpec, output: Buffer | null): Promise<boolean> {
    if (!output) return false;
    const ending = { id, status: 'succeeded', from: ',queued,', end: ANSWERED, output } as const;
    const [outcome] = await settleJobs(model, version, [ending]);
    return outcome === 'settled' || outcome === 'succeeded';
  }

  async function cancel(tenant: string, id: string): Promise<JobRecord> {
    await end(await existing(tenant, id), 'canceled', ',queued,running,', CANCELED);
    const after = await existing(tenant, id);
    if (after.status !== 'canceled')
      throw new SluiceError('job_finished', `The job has already ended: ${after.status}.`);
    return after;
  }

  /** False when it is not queued any more. */
  async function expire(record: JobRecord): Promise<boolean> {
    return end(record, 'expired', ',queued,', EXPIRED);
  }

  async function end(
    { spec }: JobRecord,
    status: TerminalStatus,
    from: string,
    text: string,
  ): Promise<boolean> {
    const [outcome] = await settleJobs(spec.model, spec.version, [{ id: spec.id, status, from, end: text }]);
    return outcome === 'settled';
  }

  /** What a job was given, once it has ended: to submit it again. */
  async function endedInput(tenant: string, id: string): Promise<{ record: JobRecord; input: Buffer }> {
    const record = await existing(tenant, id);
    if (!isTerminal(record.status)) throw new SluiceError('job_not_finished');
    const inline = await redis.hgetBuffer(keys.job(id), 'input');
    const input = inline && (await payloads.load({ inline, blob: record.spec.inputBlob ?? null }));
    if (!input) throw new SluiceError('not_found', 'There is no such job.');
    return { record, input };
  }

  /** Forgets a job that has ended with all that it held; one that is queued is canceled first. */
  async function erase(tenant: string, id: string): Promise<void> {
    const record = await existing(tenant, id);
    if (record.status === 'queued') await end(record, 'canceled', ',queued,', CANCELED);
    const outcome = await eraseScript([keys.job(id), keys.tenantJobs(tenant), keys.dueIndex], [id]);
    // It was there just now: most likely we have erased it ourselves, and did not hear of it.
    if (outcome !== 'erased' && outcome !== 'gone')
      throw new SluiceError('job_not_finished', 'The job is running; cancel it first.');
    await payloads.drop(record.spec, record.end);
  }

  const list = createJobList({ redis, keys, get });
  return { submit, demandRoom, get, getWithOutput, list, cancel, expire, endedInput, erase };
}

const CANCELED = endText(null);
const ANSWERED = JSON.stringify({ error: null, usageMs: 0, timings: null, cached: true } satisfies JobEnd);
const EMPTY = Buffer.alloc(0);

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

/** What its own webhook is told, as scripts read it. */
function eventsOf({ webhook, untold }: JobSpec): string {
  if (untold) return TOLD_TO_NOBODY;
  return webhook ? `,${(webhook.events ?? JOB_EVENTS).join(',')},` : '';
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

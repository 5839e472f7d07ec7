/**
 * Jobs: the single owner of a job's state. Our record is the truth; the queue only carries ids.
 *
 *   submit   writes the record (queued), then hands the id to the transport. Lost in between, upkeep adds it again.
 *   start    queued -> running under a new fencing token; also takes over a job that a dead worker left running.
 *   settle   running -> succeeded | failed, only with the newest token; writes result and event in the same step.
 *   cancel   queued | running -> canceled        expire   queued -> expired
 *
 * Promises: an accepted job ends in exactly one terminal state, which never changes, with at most one result; whoever
 * comes second is told that it was refused. Another tenant's job does not exist.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.js';
import { SluiceError } from '../base/errors.js';
import { newId } from '../base/ids.js';
import { defineScript, type Redis } from '../base/redis.js';
import {
  type JobEnd,
  type JobRecord,
  type JobSpec,
  type JobStatus,
  jobError,
  PRIORITIES,
  type Priority,
  type TerminalStatus,
} from '../contract/job.js';
import { JOB_EVENTS } from '../contract/webhook.js';
import type { Keys } from './keys.js';
import { decodeRecord, RECORD_FIELDS } from './record.js';
import { SETTLE, START, SUBMIT } from './scripts.js';

/** How long an Idempotency-Key is remembered. */
const IDEMPOTENCY_SECONDS = 24 * 3600;
/** A job that was started so often without an end kills its workers. */
const MAX_STARTS = 10;
/** Hint to a caller that met a full queue. */
const RETRY_FULL_SECONDS = 5;

/** The queue as far as jobs need it: carries an id to a worker at least once, unless it loses it. */
export interface Transport {
  add(model: string, id: string, priority: Priority): Promise<void>;
  remove(model: string, id: string): Promise<void>;
}

export interface JobLimits {
  maxQueuedPerTenant: number;
  maxQueuedPerModel: number;
  retentionSeconds: number;
}

export interface JobsDeps {
  redis: Redis;
  keys: Keys;
  transport: Transport;
  clock: Clock;
  limits: JobLimits;
}

export interface NewJob {
  spec: JobSpec;
  ttlSeconds: number;
  /** Packed instances. */
  input: Buffer;
}

/** An Idempotency-Key in its scope; `fingerprint` identifies the body it came with. */
export interface Idempotency {
  route: string;
  key: string;
  fingerprint: string;
}

export interface Submitted {
  replayed: boolean;
  record: JobRecord;
}

export type Started = { spec: JobSpec; input: Buffer; token: string } | { skipped: string };

export interface ListFilter {
  status?: JobStatus | undefined;
  model?: string | undefined;
  /** Inclusive, milliseconds since the Unix epoch. */
  from?: number | undefined;
  to?: number | undefined;
  limit: number;
  cursor?: string | undefined;
}

export type Jobs = ReturnType<typeof createJobs>;

export function createJobs({ redis, keys, transport, clock, limits }: JobsDeps) {
  const submitScript = defineScript<string[]>(redis, 'sluiceSubmit', SUBMIT);
  const startScript = defineScript<Buffer[]>(redis, 'sluiceStart', START, true);
  const settleScript = defineScript<string[]>(redis, 'sluiceSettle', SETTLE);

  async function submit({ spec, ttlSeconds, input }: NewJob, idempotency?: Idempotency): Promise<Submitted> {
    const [outcome, detail] = await submitScript(
      [
        keys.job(spec.id),
        keys.waiting(spec.model),
        keys.agenda,
        keys.tenantJobs(spec.tenant),
        keys.queuedByTenant,
        idempotency
          ? keys.idempotency(spec.tenant, idempotency.route, sha256(idempotency.key))
          : keys.job(spec.id),
      ],
      [
        spec.id,
        spec.tenant,
        JSON.stringify(spec),
        input,
        ttlSeconds * 1000,
        PRIORITIES.indexOf(spec.priority),
        spec.webhook ? `,${(spec.webhook.events ?? JOB_EVENTS).join(',')},` : '',
        limits.maxQueuedPerTenant,
        limits.maxQueuedPerModel,
        idempotency?.fingerprint ?? '',
        IDEMPOTENCY_SECONDS,
        spec.version,
      ],
    );
    switch (outcome) {
      case 'created': {
        const createdAt = Number(detail);
        await transport.add(spec.model, spec.id, spec.priority);
        return { replayed: false, record: queuedRecord(spec, createdAt, ttlSeconds) };
      }
      case 'replayed':
        return { replayed: true, record: await replayed(spec.tenant, detail ?? '') };
      case 'mismatch':
        throw new SluiceError('idempotency_key_reused');
      case 'tenant_full':
        throw new SluiceError('queue_full_for_tenant', undefined, { retryAfterSeconds: RETRY_FULL_SECONDS });
      default:
        throw new SluiceError('queue_full', undefined, { retryAfterSeconds: RETRY_FULL_SECONDS });
    }
  }

  /** The job of an earlier submit; handed to the transport again, in case its own submit died before that. */
  async function replayed(tenant: string, id: string): Promise<JobRecord> {
    const record = await get(tenant, id);
    if (!record) throw new SluiceError('not_found', 'The job of this Idempotency-Key is no longer kept.');
    if (record.status === 'queued') await transport.add(record.spec.model, id, record.spec.priority);
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
    return record?.spec.tenant === tenant ? { record, output } : null;
  }

  /** Number of jobs that start before this one; null once it no longer waits. */
  async function queuePosition(record: JobRecord): Promise<number | null> {
    return record.status === 'queued'
      ? await redis.zrank(keys.waiting(record.spec.model), record.spec.id)
      : null;
  }

  /** Newest first. Looks at `SCAN_LIMIT` jobs at most, so a page may be short although there are more. */
  async function list(
    tenant: string,
    filter: ListFilter,
  ): Promise<{ records: JobRecord[]; nextCursor: string | null }> {
    const index = keys.tenantJobs(tenant);
    const records: JobRecord[] = [];
    let last = filter.cursor;
    for (let scanned = 0; scanned < SCAN_LIMIT; scanned += SCAN_PAGE) {
      const ids = await redis.zrange(
        index,
        last ? `(${last}` : '+',
        '-',
        'BYLEX',
        'REV',
        'LIMIT',
        0,
        SCAN_PAGE,
      );
      const page = await Promise.all(ids.map((id) => get(tenant, id)));
      for (const [i, record] of page.entries()) {
        last = ids[i];
        if (record && matches(record, filter)) records.push(record);
        if (records.length === filter.limit) return { records, nextCursor: last ?? null };
      }
      if (ids.length < SCAN_PAGE) return { records, nextCursor: null };
    }
    return { records, nextCursor: last ?? null };
  }

  /** `served`: the versions that the caller can run, as ",1,2,". */
  async function start(model: string, id: string, served: string): Promise<Started> {
    const [outcome, detail, spec, input] = await startScript(
      [keys.job(id), keys.waiting(model), keys.agenda, keys.queuedByTenant],
      [id, MAX_STARTS, served],
    );
    if (outcome?.toString() === 'started' && detail && spec && input) {
      return { spec: JSON.parse(spec.toString()) as JobSpec, input, token: detail.toString() };
    }
    const why = String(detail);
    if (why === 'expired') await expire(model, id);
    if (why === 'lost')
      await finish(model, id, 'failed', ',running,', '', { ...EMPTY_END, error: jobError('execution_lost') });
    return { skipped: why };
  }

  /** False when the job has ended meanwhile or was started by somebody else: the result is void. */
  function settle(spec: JobSpec, token: string, end: JobEnd, output: Buffer | null): Promise<boolean> {
    return finish(spec.model, spec.id, output ? 'succeeded' : 'failed', ',running,', token, end, output);
  }

  async function cancel(tenant: string, id: string): Promise<JobRecord> {
    const record = await get(tenant, id);
    if (!record) throw new SluiceError('not_found');
    const { model } = record.spec;
    const canceled = await finish(model, id, 'canceled', ',queued,running,', '', EMPTY_END);
    if (canceled && record.status === 'queued') await transport.remove(model, id);
    const after = await get(tenant, id);
    if (!after) throw new SluiceError('not_found');
    if (after.status !== 'canceled')
      throw new SluiceError('job_finished', `The job has already ended: ${after.status}.`);
    return after;
  }

  function expire(model: string, id: string): Promise<boolean> {
    return finish(model, id, 'expired', ',queued,', '', { ...EMPTY_END, error: jobError('expired') });
  }

  async function finish(
    model: string,
    id: string,
    status: TerminalStatus,
    from: string,
    token: string,
    end: JobEnd,
    output: Buffer | null = null,
  ): Promise<boolean> {
    const [outcome] = await settleScript(
      [keys.job(id), keys.waiting(model), keys.agenda, keys.queuedByTenant, keys.outbox],
      [
        id,
        status,
        from,
        token,
        JSON.stringify(end),
        output ?? '',
        limits.retentionSeconds,
        newId('evt', clock.now()),
        keys.ended,
      ],
    );
    return outcome === 'settled';
  }

  return { submit, get, getWithOutput, queuePosition, list, start, settle, cancel, expire };
}

const SCAN_PAGE = 100;
const SCAN_LIMIT = 2000;
const EMPTY_END: JobEnd = { error: null, usageMs: 0, timings: null };

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
    end: null,
  };
}

function matches(record: JobRecord, filter: ListFilter): boolean {
  return (
    (filter.status === undefined || record.status === filter.status) &&
    (filter.model === undefined || record.spec.model === filter.model) &&
    (filter.from === undefined || record.createdAt >= filter.from) &&
    (filter.to === undefined || record.createdAt <= filter.to)
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

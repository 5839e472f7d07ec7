/**
 * Jobs: the single owner of a job's state. Our record is the truth; the transport only calls workers to it.
 *
 *   submit   writes the record (queued) and, unless one is out, hands a ticket for its queue to the transport.
 *   start    what a worker may do with a ticket, queued -> running: takes the jobs that are next, up to a batch, each under
 *            a new fencing token; also takes over those that a dead worker left running under the same ticket.
 *   settle   running -> succeeded | failed, only with the newest token; writes result and event in the same step.
 *   cancel   queued | running -> canceled        expire   queued -> expired
 *
 * While jobs wait in a queue, one ticket is out: who takes it gives out the next if it leaves jobs waiting. So the order
 * of starting is ours alone, and the transport's work is paid by the batch. A ticket that is lost between here and the
 * transport is replaced by the next submit or start, or by upkeep.
 *
 * Promises: an accepted job ends in exactly one terminal state, which never changes, with at most one result; whoever
 * comes second is told that it was refused. Another tenant's job does not exist.
 */
import { createHash } from 'node:crypto';
import { SluiceError } from '../base/errors.js';
import { defineScript, type Redis } from '../base/redis.js';
import {
  type JobEnd,
  type JobError,
  type JobRecord,
  type JobSpec,
  type JobStatus,
  jobError,
  PRIORITIES,
  type TerminalStatus,
} from '../contract/job.js';
import { JOB_EVENTS } from '../contract/webhook.js';
import type { Keys } from './keys.js';
import { decodeRecord, RECORD_FIELDS } from './record.js';
import { RECALL, SETTLE, START, SUBMIT } from './scripts.js';

/** How long an Idempotency-Key is remembered. */
const IDEMPOTENCY_SECONDS = 24 * 3600;
/** A job that was started so often without an end kills its workers. */
const MAX_STARTS = 10;
/** Hint to a caller that met a full queue. */
const RETRY_FULL_SECONDS = 5;

/** The queue as far as jobs need it: carries a ticket to a worker at least once, unless it loses it. */
export interface Transport {
  /** Does nothing when it already holds this ticket. */
  add(model: string, version: number, ticket: string): Promise<void>;
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
  limits: JobLimits;
  /** Hears of a ticket that could not be handed over: nothing is lost, but its jobs may have to wait for the next. */
  onError: (kind: string, error: unknown) => void;
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

/** Bounds of what is taken under one ticket; the first job is taken whatever its size. */
export interface Share {
  maxInstances: number;
  maxBytes: number;
}

/** A job that its worker must run and settle. */
export interface Started {
  spec: JobSpec;
  input: Buffer;
  ticket: string;
  token: string;
}

/** An execution and what came of it. */
export interface Finished {
  job: Omit<Started, 'input'>;
  end: JobEnd;
  /** Packed predictions, null when the job failed. */
  output: Buffer | null;
}

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

export function createJobs({ redis, keys, transport, limits, onError }: JobsDeps) {
  const submitScript = defineScript<string[]>(redis, 'sluiceSubmit', SUBMIT);
  const startScript = defineScript<Buffer[]>(redis, 'sluiceStart', START, true);
  const settleScript = defineScript<string[]>(redis, 'sluiceSettle', SETTLE);
  const recallScript = defineScript<string>(redis, 'sluiceRecall', RECALL);

  async function submit({ spec, ttlSeconds, input }: NewJob, idempotency?: Idempotency): Promise<Submitted> {
    const [outcome, detail, ticket] = await submitScript(
      [
        keys.job(spec.id),
        keys.waiting(spec.model, spec.version),
        keys.agenda,
        keys.tenantJobs(spec.tenant),
        keys.queued,
        keys.tickets(spec.model, spec.version),
        idempotency
          ? keys.idempotency(spec.tenant, idempotency.route, sha256(idempotency.key))
          : keys.job(spec.id),
      ],
      [
        spec.id,
        spec.tenant,
        spec.model,
        JSON.stringify(spec),
        input,
        spec.instances,
        ttlSeconds * 1000,
        PRIORITIES.indexOf(spec.priority),
        spec.webhook ? `,${(spec.webhook.events ?? JOB_EVENTS).join(',')},` : '',
        limits.maxQueuedPerTenant,
        limits.maxQueuedPerModel,
        idempotency?.fingerprint ?? '',
        IDEMPOTENCY_SECONDS,
      ],
    );
    switch (outcome) {
      case 'created': {
        await handOver(spec.model, spec.version, ticket);
        return { replayed: false, record: queuedRecord(spec, Number(detail), ttlSeconds) };
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

  async function replayed(tenant: string, id: string): Promise<JobRecord> {
    const record = await get(tenant, id);
    if (!record) throw new SluiceError('not_found', 'The job of this Idempotency-Key is no longer kept.');
    return record;
  }

  /** The record stands already, so a failure here is not the caller's. */
  async function handOver(model: string, version: number, ticket: string | undefined): Promise<void> {
    if (!ticket) return;
    try {
      await transport.add(model, version, ticket);
    } catch (error) {
      onError('ticket not handed over', error);
    }
  }

  /** Gives out a ticket for jobs that wait although none is out, which means that it was lost. */
  async function recall(model: string, version: number): Promise<void> {
    const ticket = await recallScript([keys.waiting(model, version), keys.tickets(model, version)], []);
    await handOver(model, version, ticket);
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
      ? await redis.zrank(keys.waiting(record.spec.model, record.spec.version), record.spec.id)
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

  async function start(model: string, version: number, ticket: string, share: Share): Promise<Started[]> {
    const [next, ...taken] = await startScript(
      [...finishKeys(model, version), keys.tickets(model, version), keys.taken(model, version, ticket)],
      [
        ticket,
        share.maxInstances,
        share.maxBytes,
        MAX_STARTS,
        keys.job(''),
        model,
        EXPIRED,
        LOST,
        limits.retentionSeconds,
        keys.ended,
      ],
    );
    await handOver(model, version, next?.toString());
    const started: Started[] = [];
    for (let i = 0; i < taken.length; i += 4) {
      const [, token, spec, input] = taken.slice(i, i + 4) as [Buffer, Buffer, Buffer, Buffer];
      started.push({ spec: JSON.parse(spec.toString()) as JobSpec, input, ticket, token: token.toString() });
    }
    return started;
  }

  /**
   * Ends executions of one version's jobs. False where the job has ended meanwhile or was started by somebody else: that
   * result is void.
   */
  async function settle(model: string, version: number, finished: readonly Finished[]): Promise<boolean[]> {
    const outcomes = await finish(
      model,
      version,
      finished.map(({ job, end, output }) => ({
        id: job.spec.id,
        ticket: job.ticket,
        from: ',running,',
        token: job.token,
        status: output ? 'succeeded' : 'failed',
        end: JSON.stringify(end),
        output,
      })),
    );
    return outcomes.map((outcome) => outcome === 'settled');
  }

  async function cancel(tenant: string, id: string): Promise<JobRecord> {
    const record = await get(tenant, id);
    if (!record) throw new SluiceError('not_found');
    await end(record, 'canceled', ',queued,running,', NO_END);
    const after = await get(tenant, id);
    if (!after) throw new SluiceError('not_found');
    if (after.status !== 'canceled')
      throw new SluiceError('job_finished', `The job has already ended: ${after.status}.`);
    return after;
  }

  async function expire(record: JobRecord): Promise<void> {
    await end(record, 'expired', ',queued,', EXPIRED);
  }

  async function end({ spec }: JobRecord, status: TerminalStatus, from: string, text: string): Promise<void> {
    const ending = { id: spec.id, ticket: '', from, token: '', status, end: text, output: null };
    await finish(spec.model, spec.version, [ending]);
  }

  function finish(model: string, version: number, endings: readonly Ending[]): Promise<string[]> {
    return settleScript(finishKeys(model, version), [
      keys.job(''),
      model,
      limits.retentionSeconds,
      keys.ended,
      keys.taken(model, version, ''),
      ...endings.flatMap(({ id, ticket, from, token, status, end, output }) => [
        id,
        ticket,
        from,
        token,
        status,
        end,
        output ?? '',
      ]),
    ]);
  }

  function finishKeys(model: string, version: number): string[] {
    return [keys.waiting(model, version), keys.agenda, keys.queued, keys.outbox];
  }

  return { submit, get, getWithOutput, queuePosition, list, recall, start, settle, cancel, expire };
}

/** As the settling script takes it. */
interface Ending {
  id: string;
  ticket: string;
  from: string;
  token: string;
  status: TerminalStatus;
  end: string;
  output: Buffer | null;
}

const SCAN_PAGE = 100;
const SCAN_LIMIT = 2000;
const NO_END = endText(null);
const EXPIRED = endText(jobError('expired'));
const LOST = endText(jobError('execution_lost'));

/** The end of a job that no execution ended. */
function endText(error: JobError | null): string {
  return JSON.stringify({ error, usageMs: 0, timings: null } satisfies JobEnd);
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
    ticket: null,
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

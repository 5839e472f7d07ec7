/**
 * Jobs: a caller's side of the jobs that exist; submission/ makes them. The record in Redis is the truth.
 *
 *   cancel   queued | running -> canceled        expire   queued -> expired        erase   forgets one that has ended
 *
 * Promises: an accepted job ends in exactly one terminal state, which never changes, with at most one result. Whoever
 * comes second is told that it was refused. Another tenant's job does not exist.
 */
import { SluiceError } from '../../contract/errors.js';
import {
  isTerminal,
  type JobRecord,
  type JobSpec,
  type JobStatus,
  type TerminalStatus,
} from '../../contract/job.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { type Page, readPage } from '../page.js';
import { decodeRecord, RECORD_FIELDS } from './job-record.js';
import type { Payloads } from './payloads.js';
import { EXPIRED, endText, type SettleJobs } from './settle.js';

export interface JobsDeps {
  redis: Redis;
  keys: Keys;
  settleJobs: SettleJobs;
  payloads: Payloads;
}

export interface JobFilter {
  status?: JobStatus | undefined;
  model?: string | undefined;
  /** The time of creation: inclusive, in milliseconds since the Unix epoch. */
  from?: number | undefined;
  to?: number | undefined;
  limit: number;
  cursor?: string | undefined;
}

export type Jobs = ReturnType<typeof createJobs>;

/** Returns the caller's side of jobs. */
export function createJobs({ redis, keys, settleJobs, payloads }: JobsDeps) {
  const eraseJob = loadScript(redis, 'erase-job');

  /** Returns a job of the tenant; null when it has none of this id. */
  async function get(tenant: string, id: string): Promise<JobRecord | null> {
    const record = decodeRecord(await redis.hmget(keys.job(id), ...RECORD_FIELDS));
    return record?.spec.tenant === tenant ? record : null;
  }

  /** Returns whose job it is; null for a job that does not exist. It is for callers who come with a signed address. */
  async function tenantOf(id: string): Promise<string | null> {
    const spec = await redis.hget(keys.job(id), 'spec');
    return spec && (JSON.parse(spec) as JobSpec).tenant;
  }

  /** Returns a job and its packed predictions, null before it has succeeded, in one read. */
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

  /** Returns a page of the jobs that match, newest first. */
  function list(tenant: string, filter: JobFilter): Promise<Page<JobRecord>> {
    return readPage(redis, {
      index: keys.tenantJobs(tenant),
      limit: filter.limit,
      cursor: filter.cursor,
      read: (id) => get(tenant, id),
      matches: (record) => matches(record, filter),
    });
  }

  async function existing(tenant: string, id: string): Promise<JobRecord> {
    const record = await get(tenant, id);
    if (!record) throw new SluiceError('not_found', 'There is no such job.');
    return record;
  }

  /**
   * Cancels a job that has not ended.
   * @throws {SluiceError} `not_found`, `job_finished`.
   */
  async function cancel(tenant: string, id: string): Promise<JobRecord> {
    await end(await existing(tenant, id), 'canceled', ',queued,running,', CANCELED);
    const after = await existing(tenant, id);
    if (after.status !== 'canceled')
      throw new SluiceError('job_finished', `The job has already ended: ${after.status}.`);
    return after;
  }

  /** Ends a queued job whose deadline is over; returns false when it is not queued any more. */
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

  /**
   * Returns a job that has ended and its packed input, so that it can be submitted again.
   * @throws {SluiceError} `not_found`, `job_not_finished`.
   */
  async function endedInput(tenant: string, id: string): Promise<{ record: JobRecord; input: Buffer }> {
    const record = await existing(tenant, id);
    if (!isTerminal(record.status)) throw new SluiceError('job_not_finished');
    const inline = await redis.hgetBuffer(keys.job(id), 'input');
    const input = inline && (await payloads.load({ inline, blob: record.spec.inputBlob ?? null }));
    if (!input) throw new SluiceError('not_found', 'There is no such job.');
    return { record, input };
  }

  /**
   * Forgets a job that has ended, with all that it held. A queued job is canceled first.
   * @throws {SluiceError} `not_found`; `job_not_finished` for a job that is running.
   */
  async function erase(tenant: string, id: string): Promise<void> {
    const record = await existing(tenant, id);
    if (record.status === 'queued') await end(record, 'canceled', ',queued,', CANCELED);
    const outcome = await eraseJob({
      jobKey: keys.job(id),
      tenantJobsKey: keys.tenantJobs(tenant),
      dueIndexKey: keys.dueIndex,
      id,
    });
    // The record was there just now. Most likely this call erased it, and the answer of Redis was lost.
    if (outcome !== 'erased' && outcome !== 'gone')
      throw new SluiceError('job_not_finished', 'The job is running; cancel it first.');
    await payloads.drop(record.spec, record.end);
  }

  return { get, tenantOf, getWithOutput, list, cancel, expire, endedInput, erase };
}

const CANCELED = endText(null);
const EMPTY = Buffer.alloc(0);

function matches(record: JobRecord, filter: JobFilter): boolean {
  return (
    (filter.status === undefined || record.status === filter.status) &&
    (filter.model === undefined || record.spec.model === filter.model) &&
    (filter.from === undefined || record.createdAt >= filter.from) &&
    (filter.to === undefined || record.createdAt <= filter.to)
  );
}

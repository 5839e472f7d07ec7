/**
 * The due index: every job's record by the time at which upkeep must look at it next, and what upkeep does then.
 *
 *   queued    goes (back) into its queue when the pause after a failed attempt is over, and before its priority when it has
 *             waited for long. Its queue gets a ticket in case that was lost. At its deadline the job expires.
 *   running   its ticket goes to the transport again, in case that lost it; a transport that holds it does nothing
 *   terminal  the record is forgotten when its retention is over
 *
 * Any number of processes may tend the index at once, because each step is idempotent and checked where it is made.
 */

import type { BlobStore } from '../../blobs/blobs.js';
import { isTerminal, type JobRecord, type JobSpec, PRIORITIES } from '../../contract/job.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { redisNow } from '../../redis/redis-time.js';
import type { Transport, WakeTickets } from '../queues/wake-tickets.js';
import { sweepOrphans } from '../sweep-orphans.js';
import type { JobLimits } from './job-limits.js';
import { decodeRecord, RECORD_FIELDS } from './job-record.js';
import type { Jobs } from './jobs.js';
import { jobOfPayload, PAYLOADS_FOLDER, type Payloads } from './payloads.js';

export interface DueIndexDeps {
  redis: Redis;
  keys: Keys;
  jobs: Jobs;
  wakeTickets: WakeTickets;
  transport: Transport;
  payloads: Payloads;
  blobs: BlobStore;
  limits: JobLimits;
}

export interface Tended {
  /** The records that were looked at. */
  looked: number;
  /** The jobs that expired here, without copies for a shadow, which belong to nobody. */
  expired: number;
  forgotten: number;
}

/** The result of a look at one record. */
interface Look {
  end?: 'expired' | 'forgotten';
  /** When to look again, in milliseconds since the Unix epoch. */
  again?: number;
  /** The job, if it waits in a queue that may have lost its ticket. */
  queued?: JobSpec;
}

const PAGE = 200;
/** Upkeep looks again at a queued or running record after this time. */
const CHECK_MS = 60_000;

export type DueIndex = ReturnType<typeof createDueIndex>;

/** Returns the upkeep of jobs. */
export function createDueIndex(deps: DueIndexDeps) {
  const { redis, keys, jobs, wakeTickets, transport, payloads, blobs, limits } = deps;
  const enqueueJob = loadScript(redis, 'enqueue-job');

  /** Looks at the records that are due, at most `PAGE` of them; when `looked` is `PAGE`, more may be due. */
  async function tend(): Promise<Tended> {
    const now = await redisNow(redis);
    const ids = await redis.zrangebyscore(keys.dueIndex, '-inf', now, 'LIMIT', 0, PAGE);
    const looks = await Promise.all(ids.map((id) => look(id, now)));
    await recallTickets(looks.flatMap(({ queued }) => queued ?? []));
    await Promise.all(
      looks.map(({ again }, i) => again && redis.zadd(keys.dueIndex, 'XX', again, ids[i] as string)),
    );
    return {
      looked: ids.length,
      expired: looks.filter(({ end }) => end === 'expired').length,
      forgotten: looks.filter(({ end }) => end === 'forgotten').length,
    };
  }

  async function look(id: string, now: number): Promise<Look> {
    const record = decodeRecord(await redis.hmget(keys.job(id), ...RECORD_FIELDS));
    if (!record) {
      await redis.zrem(keys.dueIndex, id);
      return { end: 'forgotten' };
    }
    if (isTerminal(record.status)) return forgetOrKeep(record, now);
    if (record.status !== 'queued') return lookAtRunning(record, now);
    return now < record.expiresAt ? lookAtQueued(record, now) : expire(record);
  }

  async function expire(record: JobRecord): Promise<Look> {
    const isExpired = await jobs.expire(record);
    return isExpired && !record.spec.shadowOf ? { end: 'expired' } : {};
  }

  async function lookAtQueued(record: JobRecord, now: number): Promise<Look> {
    const { id, model, version, priority } = record.spec;
    const agesAt = record.createdAt + limits.agingSeconds * 1000;
    const rank = now >= agesAt ? 0 : PRIORITIES.indexOf(priority);
    await enqueueJob({
      jobKey: keys.job(id),
      waitingKey: keys.waiting(model, version),
      queueKey: keys.queue(model, version),
      id,
      rank,
    });
    const again = Math.min(
      record.expiresAt,
      now + CHECK_MS,
      now >= agesAt ? Number.POSITIVE_INFINITY : agesAt,
    );
    return { again, queued: record.spec };
  }

  async function lookAtRunning({ spec, ticket }: JobRecord, now: number): Promise<Look> {
    if (ticket) await transport.add(spec.model, spec.version, ticket);
    return { again: now + CHECK_MS };
  }

  async function forgetOrKeep({ spec, end, deletedAfter }: JobRecord, now: number): Promise<Look> {
    if (deletedAfter !== null && deletedAfter > now) return { again: deletedAfter };
    await payloads.drop(spec, end);
    // A transaction would not travel in one pipeline with others. In this order, a record that a cut leaves is looked at again.
    await Promise.all([
      redis.zrem(keys.tenantJobs(spec.tenant), spec.id),
      redis.del(keys.job(spec.id)),
      redis.zrem(keys.dueIndex, spec.id),
    ]);
    return { end: 'forgotten' };
  }

  /** Asks for one ticket for each queue, however many of its jobs wait. */
  async function recallTickets(queued: readonly JobSpec[]): Promise<void> {
    const queues = new Map(queued.map(({ model, version }) => [`${model}@${version}`, { model, version }]));
    await Promise.all([...queues.values()].map(({ model, version }) => wakeTickets.recall(model, version)));
  }

  /** Removes blobs that no job names, and what unfinished writes left; returns how many. */
  async function sweep(): Promise<number> {
    const unfinished = await blobs.sweep();
    const isKept = async (path: string) => (await redis.exists(keys.job(jobOfPayload(path)))) === 1;
    return unfinished + (await sweepOrphans({ redis, blobs, folder: PAYLOADS_FOLDER, isKept }));
  }

  return { tend, sweep };
}

/**
 * The agenda: every record by the time at which it must be looked at next, and what is done then.
 *
 *   queued    its queue gets a ticket in case that was lost; at its deadline: expired
 *   running   its ticket is given to the transport again (which does nothing with one it holds), in case that lost it
 *   terminal  forgotten when its retention is over
 *
 * Any number of processes may tend the agenda at once: each step is idempotent and checked where it is made.
 */
import type { Redis } from '../base/redis.js';
import { isTerminal, type JobRecord } from '../contract/job.js';
import type { Jobs, Transport } from './jobs.js';
import type { Keys } from './keys.js';
import { decodeRecord, RECORD_FIELDS } from './record.js';
import { CHECK_MS } from './scripts.js';

export interface AgendaDeps {
  redis: Redis;
  keys: Keys;
  jobs: Jobs;
  transport: Transport;
}

export interface Tended {
  looked: number;
  expired: number;
  forgotten: number;
}

const PAGE = 200;

export function createAgenda({ redis, keys, jobs, transport }: AgendaDeps) {
  /** Looks at the records that are due, at most `PAGE`; `looked === PAGE` says that there may be more. */
  async function tend(): Promise<Tended> {
    const [seconds, micros] = await redis.time();
    const now = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
    const ids = await redis.zrangebyscore(keys.agenda, '-inf', now, 'LIMIT', 0, PAGE);
    const done = await Promise.all(ids.map((id) => look(id, now)));
    return {
      looked: ids.length,
      expired: done.filter((what) => what === 'expired').length,
      forgotten: done.filter((what) => what === 'forgotten').length,
    };
  }

  async function look(id: string, now: number): Promise<'expired' | 'forgotten' | 'kept'> {
    const record = decodeRecord(await redis.hmget(keys.job(id), ...RECORD_FIELDS));
    if (!record) {
      await redis.zrem(keys.agenda, id);
      return 'forgotten';
    }
    if (isTerminal(record.status)) return forgetOrKeep(record, now);
    const { model, version } = record.spec;
    if (record.status === 'queued' && now >= record.expiresAt) {
      await jobs.expire(record);
      return 'expired';
    }
    if (record.status === 'queued') await jobs.recall(model, version);
    else if (record.ticket) await transport.add(model, version, record.ticket);
    const next = record.status === 'queued' ? Math.min(record.expiresAt, now + CHECK_MS) : now + CHECK_MS;
    await redis.zadd(keys.agenda, 'XX', next, id);
    return 'kept';
  }

  async function forgetOrKeep({ spec, deletedAfter }: JobRecord, now: number): Promise<'forgotten' | 'kept'> {
    if (deletedAfter !== null && deletedAfter > now) {
      await redis.zadd(keys.agenda, 'XX', deletedAfter, spec.id);
      return 'kept';
    }
    await redis
      .multi()
      .del(keys.job(spec.id))
      .zrem(keys.tenantJobs(spec.tenant), spec.id)
      .zrem(keys.agenda, spec.id)
      .exec();
    return 'forgotten';
  }

  return { tend };
}

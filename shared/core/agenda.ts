/**
 * The agenda: every record by the time at which it must be looked at next, and what is done then.
 *
 *   queued    given to the transport again (it does nothing with an id it holds), until its deadline: then expired
 *   running   given to the transport again, in case that lost it
 *   terminal  forgotten when its retention is over
 *
 * Any number of processes may tend the agenda at once: each step is idempotent and checked where it is made.
 */
import type { Redis } from '../base/redis.js';
import { isTerminal, type JobRecord } from '../contract/job.js';
import type { Jobs, Transport } from './jobs.js';
import type { Keys } from './keys.js';
import { decodeRecord, RECORD_FIELDS } from './record.js';
import { CHECK_RUNNING_MS } from './scripts.js';

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
    const { model, priority } = record.spec;
    if (record.status === 'queued' && now >= record.expiresAt) {
      await jobs.expire(model, id);
      await transport.remove(model, id);
      return 'expired';
    }
    await transport.add(model, id, priority);
    await redis.zadd(
      keys.agenda,
      'XX',
      record.status === 'queued' ? record.expiresAt : now + CHECK_RUNNING_MS,
      id,
    );
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

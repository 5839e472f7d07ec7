/**
 * The backlog: what waits in a model's queues, where a job stands in it, and whether it is held.
 *
 * While a model is paused no job of it is started; all else goes on. The rate of starting is measured by the script that
 * starts jobs, while jobs wait; until it has been measured there is no estimate.
 */

import type { JobRecord, Place } from '../../contract/job.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { redisNow } from '../../redis/now.js';
import type { WakeTickets } from './wake-tickets.js';

export interface QueueState {
  model: string;
  paused: boolean;
  /** Milliseconds since the Unix epoch. */
  pausedAt: number | null;
  versions: VersionQueue[];
}

export interface VersionQueue {
  version: number;
  queued: number;
  /** Age of the job that starts next. */
  nextAgeMs: number | null;
  /** Jobs started in a second, while jobs waited; null when not measured. */
  startsPerSecond: number | null;
}

export type QueueStatus = ReturnType<typeof createQueueStatus>;

export function createQueueStatus({
  redis,
  keys,
  wakeTickets,
}: {
  redis: Redis;
  keys: Keys;
  wakeTickets: WakeTickets;
}) {
  /** Jobs that start before this one, and when it starts; null once it no longer waits. */
  async function placeOf({ status, spec }: JobRecord): Promise<Place | null> {
    if (status !== 'queued') return null;
    const [position, measured, nowMs] = await Promise.all([
      redis.zrank(keys.waiting(spec.model, spec.version), spec.id),
      redis.hmget(keys.queue(spec.model, spec.version), 'startedJobs', 'busyMs'),
      redisNow(redis),
    ]);
    if (position === null) return null;
    return { position, startsAt: startsAt(position, ratePerSecond(measured), nowMs) };
  }

  /** Those of many jobs, by id: what they have in common is read once. */
  async function placesOf(records: readonly JobRecord[]): Promise<ReadonlyMap<string, Place>> {
    const queued = records.filter(({ status }) => status === 'queued');
    const rates = new Map<string, Promise<number | null>>();
    const [nowMs, ...places] = await Promise.all([
      redisNow(redis),
      ...queued.map(async ({ spec: { id, model, version } }) => {
        const queue = keys.queue(model, version);
        const rate = rates.get(queue) ?? redis.hmget(queue, 'startedJobs', 'busyMs').then(ratePerSecond);
        rates.set(queue, rate);
        const position = redis.zrank(keys.waiting(model, version), id);
        return { id, position: await position, rate: await rate };
      }),
    ]);
    const byId = new Map<string, Place>();
    for (const { id, position, rate } of places)
      if (position !== null) byId.set(id, { position, startsAt: startsAt(position, rate, nowMs) });
    return byId;
  }

  /** No job of the version waits or runs. One that waits for another attempt may. */
  async function isDrained(model: string, version: number): Promise<boolean> {
    const [waiting, underWay] = await Promise.all([
      redis.zcard(keys.waiting(model, version)),
      wakeTickets.count(model, version),
    ]);
    return waiting === 0 && underWay === 0;
  }

  async function pause(model: string): Promise<void> {
    await redis.hsetnx(keys.paused, model, String(await redisNow(redis)));
  }

  async function resume(model: string, versions: readonly number[]): Promise<void> {
    await redis.hdel(keys.paused, model);
    await Promise.all(versions.map((version) => wakeTickets.recall(model, version)));
  }

  async function stateOf(model: string, versions: readonly number[]): Promise<QueueState> {
    const since = await redis.hget(keys.paused, model);
    return {
      model,
      paused: since !== null,
      pausedAt: since === null ? null : Number(since),
      versions: await Promise.all(versions.map((version) => versionQueue(model, version))),
    };
  }

  async function versionQueue(model: string, version: number): Promise<VersionQueue> {
    const waiting = keys.waiting(model, version);
    const [queued, [next], measured, nowMs] = await Promise.all([
      redis.zcard(waiting),
      redis.zrange(waiting, 0, '0'),
      redis.hmget(keys.queue(model, version), 'startedJobs', 'busyMs'),
      redisNow(redis),
    ]);
    const createdAt = next === undefined ? null : await redis.hget(keys.job(next), 'createdAt');
    return {
      version,
      queued,
      nextAgeMs: createdAt ? Math.max(0, nowMs - Number(createdAt)) : null,
      startsPerSecond: ratePerSecond(measured),
    };
  }

  return { placeOf, placesOf, isDrained, pause, resume, stateOf };
}

function startsAt(position: number, rate: number | null, nowMs: number): number | null {
  return rate === null ? null : nowMs + Math.round(((position + 1) / rate) * 1000);
}

/** Jobs started ÷ time in which jobs waited, as the starting script keeps them; null when not measured. */
export function ratePerSecond([startedJobs, busyMs]: readonly (string | null | undefined)[]): number | null {
  const jobs = Number(startedJobs ?? 0);
  const ms = Number(busyMs ?? 0);
  return jobs > 0 && ms > 0 ? (jobs / ms) * 1000 : null;
}

/**
 * The status of a model's queues: how many jobs wait, where one job stands, and whether the model is paused.
 *
 * While a model is paused, none of its jobs starts; everything else goes on. The script that starts jobs measures the rate of
 * starting while jobs wait. Before that there is no estimate.
 */

import type { JobRecord } from '../../contract/job.js';
import type { QueuePlace } from '../../contract/job-view.js';
import type { VersionQueue } from '../../contract/queue-view.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { redisNow } from '../../redis/redis-time.js';
import type { WakeTickets } from './wake-tickets.js';

export interface QueueState {
  model: string;
  paused: boolean;
  /** Milliseconds since the Unix epoch. */
  pausedAt: number | null;
  versions: VersionQueue[];
}

export type QueueStatus = ReturnType<typeof createQueueStatus>;

/** Returns what can be asked and done about queues. */
export function createQueueStatus({
  redis,
  keys,
  wakeTickets,
}: {
  redis: Redis;
  keys: Keys;
  wakeTickets: WakeTickets;
}) {
  const pauseQueue = loadScript(redis, 'pause-queue');

  /** Returns how many jobs start before this one, and when it will start; null once it no longer waits. */
  async function placeOf({ status, spec }: JobRecord): Promise<QueuePlace | null> {
    if (status !== 'queued') return null;
    const [position, measured, nowMs] = await Promise.all([
      redis.zrank(keys.waiting(spec.model, spec.version), spec.id),
      redis.hmget(keys.queue(spec.model, spec.version), 'startedJobs', 'busyMs'),
      redisNow(redis),
    ]);
    if (position === null) return null;
    return { position, startsAt: startsAt(position, ratePerSecond(measured), nowMs) };
  }

  /** Returns the places of many jobs by their ids, and reads once what the jobs have in common. */
  async function placesOf(records: readonly JobRecord[]): Promise<ReadonlyMap<string, QueuePlace>> {
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
    const byId = new Map<string, QueuePlace>();
    for (const { id, position, rate } of places)
      if (position !== null) byId.set(id, { position, startsAt: startsAt(position, rate, nowMs) });
    return byId;
  }

  /** Whether no job of the version waits in its queue or runs. A job may still wait for another attempt. */
  async function isDrained(model: string, version: number): Promise<boolean> {
    const [waiting, underWay] = await Promise.all([
      redis.zcard(keys.waiting(model, version)),
      wakeTickets.count(model, version),
    ]);
    return waiting === 0 && underWay === 0;
  }

  /** Holds all jobs of a model that have not started. */
  async function pause(model: string): Promise<void> {
    const modelKey = keys.model(model);
    await pauseQueue({ pausedKey: keys.paused, modelKey, numbersKey: keys.versionNumbers, model });
  }

  /** Lets the jobs of a model start again. */
  async function resume(model: string, versions: readonly number[]): Promise<void> {
    await redis.hdel(keys.paused, model);
    await Promise.all(versions.map((version) => wakeTickets.recall(model, version)));
  }

  /** Returns the queues of some versions of a model. */
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

/**
 * Returns the jobs that are started in a second: `startedJobs` divided by `busyMs`, the time in which jobs waited, both as the
 * starting script keeps them. Null before they have been measured.
 */
export function ratePerSecond([startedJobs, busyMs]: readonly (string | null | undefined)[]): number | null {
  const jobs = Number(startedJobs ?? 0);
  const ms = Number(busyMs ?? 0);
  return jobs > 0 && ms > 0 ? (jobs / ms) * 1000 : null;
}

/**
 * Workers: which processes there are, what they do, and where they compute. An announcement is kept for `KEPT_SECONDS`, so a
 * worker that was killed leaves the list that much later.
 *
 * People read the list, and so does what scales workers; no job depends on it.
 */
import type { Clock } from '../../base/clock.js';
import { toTimestamp } from '../../base/clock.js';
import type { Device, ServedModel, WorkerView } from '../../contract/worker-view.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

/** A process that computes on one backend. */
export interface Computing {
  devices: Device[];
  models: ServedModel[];
}

/** The part of its view that a worker knows itself. */
export type WorkerFacts = Omit<WorkerView, 'seenAt'>;

export type Workers = ReturnType<typeof createWorkers>;

export const ANNOUNCE_MS = 3000;
const KEPT_SECONDS = 10;

/** Returns the list of workers. */
export function createWorkers({ redis, keys, clock }: { redis: Redis; keys: Keys; clock: Clock }) {
  /** Stores what a worker says of itself. */
  async function announce(facts: WorkerFacts): Promise<void> {
    const seen: WorkerView = { ...facts, seenAt: toTimestamp(clock.now()) };
    await Promise.all([
      redis.set(keys.worker(facts.id), JSON.stringify(seen), 'EX', KEPT_SECONDS),
      redis.sadd(keys.workers, facts.id),
    ]);
  }

  /** Removes a worker that ends in good order. */
  async function leave(id: string): Promise<void> {
    await Promise.all([redis.del(keys.worker(id)), redis.srem(keys.workers, id)]);
  }

  /** Returns the workers that announced themselves lately, the oldest first, and forgets the others. */
  async function list(): Promise<WorkerView[]> {
    const ids = (await redis.smembers(keys.workers)).sort();
    if (ids.length === 0) return [];
    const texts = await redis.mget(ids.map(keys.worker));
    const gone = ids.filter((_, i) => texts[i] === null);
    if (gone.length > 0) await redis.srem(keys.workers, ...gone);
    return texts.filter((text) => text !== null).map((text) => JSON.parse(text) as WorkerView);
  }

  /** Returns a function that tells how many workers serve a version. */
  async function servers(): Promise<(model: string, version: number) => number> {
    const counts = new Map<string, number>();
    for (const { models } of await list())
      for (const { model, version } of models)
        counts.set(`${model}@${version}`, (counts.get(`${model}@${version}`) ?? 0) + 1);
    return (model, version) => counts.get(`${model}@${version}`) ?? 0;
  }

  return { announce, leave, list, servers };
}

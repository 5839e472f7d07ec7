/**
 * Workers: which processes there are, what they do, and where they compute. An announcement is kept for `KEPT_SECONDS`, so a
 * worker that was killed leaves the list that much later.
 *
 * People read the list, and so does what scales workers; no job depends on it.
 */
import type { Clock } from '../../base/clock.js';
import { toTimestamp } from '../../base/clock.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

/** A process that computes on one backend. */
export interface Device {
  backend: string;
  /** For example `cpu` or `gpu:0`. */
  device: string;
  /** The name of the GPU or the CPU; null where it is unknown. */
  name: string | null;
  /** The memory of the GPU, or of the machine for a CPU; null where it is unknown. */
  memoryBytes: number | null;
  /** The id of the process that computes; null while there is none. */
  pid: number | null;
  /** The memory that the process held after its last batch; null before the first. */
  rssBytes: number | null;
}

export interface ServedModel {
  model: string;
  version: number;
  backend: string;
  /** False while the version is unloaded to make room for others. */
  loaded: boolean;
}

export interface Computing {
  devices: Device[];
  models: ServedModel[];
}

export interface WorkerFacts extends Computing {
  id: string;
  host: string;
  pid: number;
  /** The version of Sluice. */
  software: string;
  roles: string[];
  startedAt: string;
}

export interface SeenWorker extends WorkerFacts {
  seenAt: string;
}

export type Workers = ReturnType<typeof createWorkers>;

export const ANNOUNCE_MS = 3000;
const KEPT_SECONDS = 10;

/** Returns the list of workers. */
export function createWorkers({ redis, keys, clock }: { redis: Redis; keys: Keys; clock: Clock }) {
  /** Stores what a worker says of itself. */
  async function announce(facts: WorkerFacts): Promise<void> {
    const seen: SeenWorker = { ...facts, seenAt: toTimestamp(clock.now()) };
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
  async function list(): Promise<SeenWorker[]> {
    const ids = (await redis.smembers(keys.workers)).sort();
    if (ids.length === 0) return [];
    const texts = await redis.mget(ids.map(keys.worker));
    const gone = ids.filter((_, i) => texts[i] === null);
    if (gone.length > 0) await redis.srem(keys.workers, ...gone);
    return texts.filter((text) => text !== null).map((text) => JSON.parse(text) as SeenWorker);
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

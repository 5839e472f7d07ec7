/**
 * Workers: which processes there are, what they do, and where they compute. What a worker says of itself is kept for
 * `KEPT_SECONDS` after it last said it, so one that was killed is gone from the list that much later.
 *
 * For people and for what scales workers; no job depends on it.
 */
import type { Clock } from '../../base/clock.js';
import { toTimestamp } from '../../base/clock.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

/** A backend in a process of its own; it may have several. */
export interface Device {
  backend: string;
  /** `cpu`, `gpu:0`. */
  device: string;
  /** Of the GPU, or of the CPU; null where unknown. */
  name: string | null;
  /** Of the GPU; with the CPU that of the machine. Null where unknown. */
  memoryBytes: number | null;
  /** Of the process that computes; null while there is none. */
  pid: number | null;
  /** What that process held after its last batch; null before the first. */
  rssBytes: number | null;
}

export interface ServedModel {
  model: string;
  version: number;
  backend: string;
  /** False while it makes room for others. */
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
  /** Of Sluice. */
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

export function createWorkers({ redis, keys, clock }: { redis: Redis; keys: Keys; clock: Clock }) {
  async function announce(facts: WorkerFacts): Promise<void> {
    const seen: SeenWorker = { ...facts, seenAt: toTimestamp(clock.now()) };
    await Promise.all([
      redis.set(keys.worker(facts.id), JSON.stringify(seen), 'EX', KEPT_SECONDS),
      redis.sadd(keys.workers, facts.id),
    ]);
  }

  /** It ends in good order. */
  async function leave(id: string): Promise<void> {
    await Promise.all([redis.del(keys.worker(id)), redis.srem(keys.workers, id)]);
  }

  /** Those that were heard of lately, the oldest first; the others are forgotten. */
  async function list(): Promise<SeenWorker[]> {
    const ids = (await redis.smembers(keys.workers)).sort();
    if (ids.length === 0) return [];
    const texts = await redis.mget(ids.map(keys.worker));
    const gone = ids.filter((_, i) => texts[i] === null);
    if (gone.length > 0) await redis.srem(keys.workers, ...gone);
    return texts.filter((text) => text !== null).map((text) => JSON.parse(text) as SeenWorker);
  }

  /** How many of them serve each version; 0 for one that none does. */
  async function servers(): Promise<(model: string, version: number) => number> {
    const counts = new Map<string, number>();
    for (const { models } of await list())
      for (const { model, version } of models)
        counts.set(`${model}@${version}`, (counts.get(`${model}@${version}`) ?? 0) + 1);
    return (model, version) => counts.get(`${model}@${version}`) ?? 0;
  }

  return { announce, leave, list, servers };
}

/**
 * The crash blocklist: inputs that have brought the backend of a version down. Each is known by its hash for an hour, so that
 * it costs no second child process. Every worker refuses an input at most `FRESH_MS` after another worker has met it.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../base/clock.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { redisNow } from '../../redis/redis-time.js';

export interface CrashBlocklist {
  /** Returns the inputs of a version that are refused: the SHA-256 of packed instances, in hex. */
  of(model: string, version: number): Promise<ReadonlySet<string>>;
  /** Adds inputs by their hashes. */
  add(model: string, version: number, hashes: readonly string[]): Promise<void>;
}

const KEPT_SECONDS = 3600;
/** For so long a process uses what it last read, so that jobs share one read. */
const FRESH_MS = 1000;

/** Returns the blocklist of one process. */
export function createCrashBlocklist({
  redis,
  keys,
  clock,
}: {
  redis: Redis;
  keys: Keys;
  clock: Clock;
}): CrashBlocklist {
  const seen = new LRUCache<string, { hashes: Promise<Set<string>>; readMs: number }>({ max: 1000 });

  async function read(key: string): Promise<Set<string>> {
    const nowSeconds = Math.floor((await redisNow(redis)) / 1000);
    return new Set(await redis.zrangebyscore(key, nowSeconds, '+inf'));
  }

  return {
    of(model, version) {
      const key = keys.crashBlocklist(model, version);
      const known = seen.get(key);
      if (known && clock.monotonic() - known.readMs < FRESH_MS) return known.hashes;
      const hashes = read(key);
      // The caller hears of the error, and the next caller reads again.
      hashes.catch(() => seen.delete(key));
      seen.set(key, { hashes, readMs: clock.monotonic() });
      return hashes;
    },
    async add(model, version, hashes) {
      const key = keys.crashBlocklist(model, version);
      const nowSeconds = Math.floor((await redisNow(redis)) / 1000);
      const until = nowSeconds + KEPT_SECONDS;
      await redis
        .multi()
        .zremrangebyscore(key, '-inf', nowSeconds)
        .zadd(key, ...hashes.flatMap((hash) => [until, hash]))
        .expire(key, KEPT_SECONDS)
        .exec();
      seen.delete(key);
    },
  };
}

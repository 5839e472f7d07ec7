/**
 * Tells whether a process should be given work: it is not ending, does its duty, reaches Redis, and its clock can be trusted.
 */
import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { SluiceError } from '../contract/errors.js';
import type { Redis } from './connect.js';
import { redisNow } from './redis-time.js';

/** Beyond this the clock of this machine or that of Redis is wrong: due times are Redis', ids and logs are ours. */
const MAX_SKEW_MS = 30_000;

export interface ReadinessDeps {
  redis: Redis;
  clock: Clock;
  draining: AbortSignal;
  /** Returns what else is wrong with the process; null when nothing is. */
  fault?: () => string | null;
}

/**
 * Returns the check of this process. It rejects with a `SluiceError`, `shutting_down` or `unavailable`, that says why not.
 */
export function createReadiness({ redis, clock, draining, fault }: ReadinessDeps): () => Promise<void> {
  return async () => {
    if (draining.aborted) throw new SluiceError('shutting_down');
    const known = fault?.() ?? null;
    if (known !== null) throw new SluiceError('unavailable', known);
    const redisMs = await redisNow(redis).catch((error: unknown) => {
      const detail = `Redis: ${messageOf(error)}`;
      throw new SluiceError('unavailable', detail, { cause: error, retryAfterSeconds: 1 });
    });
    const skewMs = Math.abs(redisMs - clock.now());
    if (skewMs > MAX_SKEW_MS)
      throw new SluiceError('unavailable', `The clock is ${skewMs} ms off that of Redis.`);
  };
}

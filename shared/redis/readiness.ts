/**
 * Tells whether a process should be given work: it is not ending, does its duty, reaches Redis, and its clock can be trusted.
 */
import { type Clock, within } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { SluiceError } from '../contract/errors.js';
import type { Redis } from './connect.js';
import { redisNow } from './redis-time.js';

/** Beyond this the clock of this machine or that of Redis is wrong: due times are Redis', ids and logs are ours. */
const MAX_SKEW_MS = 30_000;

/** A worker's commands wait for Redis without end; whoever probes gives up sooner, and would not hear why. */
const ANSWER_WITHIN_MS = 2000;

export interface ReadinessDeps {
  redis: Redis;
  clock: Clock;
  draining: AbortSignal;
  /** Returns what else is wrong with the process; null when nothing is. */
  fault?: () => string | null;
}

/**
 * Returns the check of this process. It ends soon after `ANSWER_WITHIN_MS`. It rejects with a `SluiceError`, `shutting_down` or
 * `unavailable`, that says why not.
 */
export function createReadiness({ redis, clock, draining, fault }: ReadinessDeps): () => Promise<void> {
  return async () => {
    if (draining.aborted) throw new SluiceError('shutting_down');
    const known = fault?.() ?? null;
    if (known !== null) throw new SluiceError('unavailable', known);
    const redisMs = await within(clock, ANSWER_WITHIN_MS, redisNow(redis)).catch((error: unknown) => {
      const detail = `Redis: ${messageOf(error)}`;
      throw new SluiceError('unavailable', detail, { cause: error, retryAfterSeconds: 1 });
    });
    if (redisMs === null)
      throw new SluiceError('unavailable', `Redis has not answered within ${ANSWER_WITHIN_MS} ms.`, {
        retryAfterSeconds: 1,
      });
    const skewMs = Math.abs(redisMs - clock.now());
    if (skewMs > MAX_SKEW_MS)
      throw new SluiceError('unavailable', `The clock is ${skewMs} ms off that of Redis.`);
  };
}

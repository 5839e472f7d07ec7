/**
 * The time by Redis' clock, which decides wherever several processes must agree.
 */
import type { Redis } from './connect.js';

/** Returns the time in milliseconds since the Unix epoch. */
export async function redisNow(redis: Redis): Promise<number> {
  const [seconds, micros] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

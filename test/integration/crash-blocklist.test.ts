/** Inputs that brought a backend down: known to every process for an hour, by Redis' clock. */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { createCrashBlocklist } from '../../shared/core/models/crash-blocklist.js';
import { createKeys } from '../../shared/redis/keys.js';
import { createManualClock } from '../support/manual-clock.js';

const HOUR_SECONDS = 3600;

let redis: Redis;
beforeEach(() => {
  redis = new Redis(inject('redisUrl'));
});
afterEach(() => redis.quit());

it('are refused by another process a second later at most, for an hour, and forgotten then', async () => {
  const keys = createKeys(`{t-${randomBytes(6).toString('hex')}}`);
  const key = keys.crashBlocklist('m', 1);
  const clock = createManualClock();
  const [one, other] = [
    createCrashBlocklist({ redis, keys, clock }),
    createCrashBlocklist({ redis, keys, clock }),
  ];
  expect(await other.of('m', 1)).toEqual(new Set());
  await one.add('m', 1, ['a', 'b']);
  expect(await one.of('m', 1)).toEqual(new Set(['a', 'b']));
  await clock.advance(1000);
  expect(await other.of('m', 1)).toEqual(new Set(['a', 'b']));
  expect(await other.of('m', 2)).toEqual(new Set());

  const [now] = await redis.time();
  const left = Number(await redis.zscore(key, 'a')) - Number(now);
  expect(left).toBeGreaterThan(HOUR_SECONDS - 60);
  expect(left).toBeLessThanOrEqual(HOUR_SECONDS);
  expect(await redis.ttl(key)).toBeGreaterThan(HOUR_SECONDS - 60);
  // As if its hour were over.
  await redis.zadd(key, Number(now) - 1, 'a');
  await clock.advance(1000);
  expect(await other.of('m', 1)).toEqual(new Set(['b']));
  await one.add('m', 1, ['c']);
  expect(await redis.zrange(key, '0', '-1')).toEqual(['b', 'c']);
});

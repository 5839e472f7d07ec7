/**
 * Connections on a node that becomes a replica while they stay open: every form of command follows the primary.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openRedis, type Purpose, type Redis } from '../../shared/redis/connect.js';
import { isRedisFailure } from '../../shared/redis/failures.js';
import { until } from '../faults/until.js';
import { openRedisPair, type RedisPair } from '../support/redis-pair.js';

const FOLLOWS_MS = 5000;
const SCRIPT = "redis.call('GET', KEYS[1]); return redis.call('INCR', KEYS[1])";

let pair: RedisPair;
let opened: Redis[];
beforeEach(async () => {
  pair = await openRedisPair();
  opened = [];
});
afterEach(async () => {
  for (const redis of opened) redis.disconnect();
  await pair.close();
});

async function open(purpose: Purpose): Promise<Redis> {
  const redis = await openRedis(pair.url, purpose, () => undefined);
  opened.push(redis);
  return redis;
}

const runIdOf = async (redis: Redis) => /^run_id:(\w+)/m.exec(await redis.info('server'))?.[1];
const isOnPrimary = async (redis: Redis) => (await runIdOf(redis)) === (await runIdOf(pair.primary));

it.each<Purpose>(['request', 'work', 'listen'])(
  '%s: a write, a script and a pipeline are sent again, once',
  async (purpose) => {
    const redis = await open(purpose);
    await redis.set('count', 0);
    await pair.failOver();
    const [set, counted, again] = await Promise.all([
      redis.set('a', 1),
      redis.eval(SCRIPT, 1, 'count'),
      redis.eval(SCRIPT, 1, 'count'),
    ]);
    expect([set, counted, again]).toEqual(['OK', 1, 2]);
    await pair.failOver();
    const results = await redis.pipeline().get('a').incr('count').eval(SCRIPT, 1, 'count').exec();
    expect(results).toEqual([
      [null, '1'],
      [null, 3],
      [null, 4],
    ]);
    expect(await pair.primary.get('count')).toBe('4');
  },
);

it('a MULTI fails as a whole, as a failure of Redis, and succeeds when it comes again', async () => {
  const redis = await open('request');
  await redis.ping();
  await pair.failOver();
  const act = () => redis.multi().incr('count').set('a', 1).exec();
  const error = await act().catch((error: unknown) => error);
  expect(isRedisFailure(error)).toBe(true);
  expect(await act()).toEqual([
    [null, 1],
    [null, 'OK'],
  ]);
});

it('a read that blocks goes on at the primary', async () => {
  const redis = await open('listen');
  const read = redis.bzpopmin('queue', 20);
  await until('it blocks', FOLLOWS_MS, async () =>
    /^blocked_clients:1/m.test(await pair.primary.info('clients')),
  );
  await pair.failOver();
  await pair.primary.zadd('queue', 1, 'member');
  expect(await read).toEqual(['queue', 'member', '1']);
});

it('connections that only read, or only listen, follow without being refused', async () => {
  const [reader, listener] = [await open('request'), await open('listen')];
  const heard: string[] = [];
  listener.on('message', (_, message) => void heard.push(message));
  await listener.subscribe('news');
  await pair.failOver();
  await until('the reader follows', FOLLOWS_MS, () => isOnPrimary(reader));
  await until('the listener follows', FOLLOWS_MS, () => isOnPrimary(listener));
  await until('it hears again', FOLLOWS_MS, async () => {
    await pair.primary.publish('news', 'now');
    return heard.includes('now');
  });
});

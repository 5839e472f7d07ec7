/**
 * An API process hears of its jobs on one listening connection, and misses nothing for good while that is away.
 */
import { afterEach, expect, inject, it } from 'vitest';
import { newId } from '../../shared/contract/ids.js';
import { listenForJobNotices } from '../../shared/core/jobs/job-notices.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';

const connections: Redis[] = [];
afterEach(() => {
  for (const redis of connections.splice(0)) redis.disconnect();
});

async function connect(purpose: 'work' | 'listen'): Promise<Redis> {
  const redis = await openRedis(inject('redisUrl'), purpose, () => undefined);
  connections.push(redis);
  return redis;
}

async function bench() {
  const name = newId('req', 0);
  const channels = { ended: `{${name}}:ended`, changed: `{${name}}:changed` };
  const [redis, listener] = [await connect('work'), await connect('listen')];
  const connection = String(await listener.client('ID'));
  const notices = await listenForJobNotices({ redis: listener, channels });
  const heard: string[] = [];
  const watch = (id: string) => [
    notices.onEnd(id, () => heard.push(`${id} ended`)),
    notices.onChange(id, () => heard.push(`${id} changed`)),
  ];
  return { redis, channels, heard, watch, connection };
}

it('an end wakes everybody concerned, another change only those who want to know', async () => {
  const { redis, channels, heard, watch } = await bench();
  watch('a');
  const [unwatchEnd] = watch('b');
  await redis.publish(channels.changed, 'a x b');
  await redis.publish(channels.ended, 'b');
  await expect.poll(() => heard).toEqual(['a changed', 'b changed', 'b ended', 'b changed']);
  unwatchEnd?.();
  await redis.publish(channels.ended, 'b a');
  await expect.poll(() => heard.slice(4)).toEqual(['a ended', 'b changed', 'a changed']);
});

it('everybody is woken once the connection is back and hears again', async () => {
  const { redis, channels, heard, watch, connection } = await bench();
  watch('a');
  await redis.call('CLIENT', 'KILL', 'ID', connection);
  await redis.publish(channels.ended, 'a'); // Nobody hears it.
  await expect.poll(() => heard).toEqual(['a ended', 'a changed']);
  expect(await redis.pubsub('NUMSUB', channels.ended)).toEqual([channels.ended, 1]);
  await redis.publish(channels.changed, 'a');
  await expect.poll(() => heard.slice(2)).toEqual(['a changed']);
});

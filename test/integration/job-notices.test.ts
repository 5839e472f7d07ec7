/**
 * An API process hears of its jobs on one listening connection, and misses nothing for good while that is away.
 */
import { afterEach, expect, inject, it } from 'vitest';
import { newId } from '../../shared/contract/ids.js';
import { listenForJobNotices } from '../../shared/core/jobs/job-notices.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { createManualClock } from '../support/manual-clock.js';

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
  const prefix = `{${newId('req', 0)}}`;
  const channels = { ended: `${prefix}:ended`, changed: `${prefix}:changed`, awaited: `${prefix}:awaited` };
  const [redis, listener] = [await connect('work'), await connect('listen')];
  const connection = String(await listener.client('ID'));
  const clock = createManualClock();
  const notices = await listenForJobNotices({ redis: listener, channels, clock });
  const heard: string[] = [];
  const listeners = async (channel: string) => (await redis.pubsub('NUMSUB', channel))[1];
  const watch = async (id: string) => {
    const unwatch = [
      notices.onEnd(id, () => heard.push(`${id} ended`)),
      notices.onChange(id, () => heard.push(`${id} changed`)),
    ];
    await expect.poll(() => listeners(channels.changed)).toBe(1);
    await expect.poll(() => heard).toContain(`${id} changed`);
    heard.length = 0;
    return unwatch;
  };
  return { redis, clock, notices, channels, heard, watch, connection, listeners };
}

it('an end wakes everybody concerned, another change only those who want to know', async () => {
  const { redis, channels, heard, watch } = await bench();
  const [unwatchEnd] = await watch('b');
  await redis.publish(channels.changed, 'a x b');
  await redis.publish(channels.ended, 'b');
  await expect.poll(() => heard).toEqual(['b changed', 'b ended', 'b changed']);
  unwatchEnd?.();
  await redis.publish(channels.ended, 'b a');
  await expect.poll(() => heard.slice(3)).toEqual(['b changed']);
});

it('everybody is woken once the connection is back and hears again', async () => {
  const { redis, notices, channels, heard, watch, connection, listeners } = await bench();
  await watch('a');
  notices.onAwaitedEnd('b', (told) => heard.push(`b ${told}`));
  await redis.call('CLIENT', 'KILL', 'ID', connection);
  await redis.publish(channels.ended, 'a'); // Nobody hears it.
  await expect.poll(() => [...new Set(heard)].sort()).toEqual(['a changed', 'a ended', 'b null']);
  for (const channel of Object.values(channels)) expect(await listeners(channel)).toBe(1);
  heard.length = 0;
  await redis.publish(channels.changed, 'a');
  await expect.poll(() => heard).toEqual(['a changed']);
});

it('notices of all jobs are listened to only while somebody watches, and for a while after', async () => {
  const { redis, clock, notices, channels, heard, listeners } = await bench();
  expect(await listeners(channels.ended)).toBe(0);
  const unwatch = notices.onEnd('a', () => heard.push('a ended'));
  // Whoever watches from now on may have missed what came before.
  await expect.poll(() => heard).toEqual(['a ended']);
  expect(await listeners(channels.ended)).toBe(1);
  expect(await listeners(channels.changed)).toBe(0);
  unwatch();
  await redis.publish(channels.ended, 'a');
  expect(await listeners(channels.ended)).toBe(1);
  await clock.advance(10_000);
  await redis.publish(channels.ended, 'a');
  await expect.poll(() => listeners(channels.ended)).toBe(0);
  notices.onEnd('a', () => heard.push('a ended again'));
  await expect.poll(() => heard).toEqual(['a ended', 'a ended again']);
});

it('a notice of a job that is waited for holds its end, or asks to read it', async () => {
  const { redis, notices, channels } = await bench();
  const told: unknown[] = [];
  notices.onAwaitedEnd('a', (end) => told.push(end));
  const end = JSON.stringify({ error: null, usageMs: 1.5, timings: null });
  const output = Buffer.from([0, 10, 32, 255]);
  const line = (id: string) => `${id} succeeded 2 3 4 1 5 ${end.length} ${output.length}\n${end}`;
  await redis.publish(
    channels.awaited,
    Buffer.concat([Buffer.from(line('x')), output, Buffer.from(line('a')), output, Buffer.from('a\nb\n')]),
  );
  await expect.poll(() => told.length).toBe(2);
  expect(told).toEqual([
    {
      changed: {
        status: 'succeeded',
        startedAt: 2,
        finishedAt: 3,
        deletedAfter: 4,
        attempts: 1,
        starts: 5,
        end: JSON.parse(end),
      },
      output,
    },
    null,
  ]);
});

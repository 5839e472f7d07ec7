/**
 * A consumer whose worker is alive and takes nothing: its blocking connection is dead, and nothing tells.
 */
import { randomBytes } from 'node:crypto';
import { type Job as Message, Queue } from 'bullmq';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { type Consumer, startConsumer } from '../../shared/queue/consumer.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { until } from '../faults/until.js';
import { createManualClock, type ManualClock } from '../support/manual-clock.js';

const QUEUE = 'watched';
const WITHIN_MS = 25_000;
const LOOK_EVERY_MS = 5000;
const never = () => new Promise<never>(() => undefined);

let redis: Redis;
let prefix: string;
let queue: Queue;
let consumer: Consumer | undefined;
let clock: ManualClock;
beforeEach(async () => {
  clock = createManualClock();
  prefix = `{t-${randomBytes(6).toString('hex')}}`;
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  queue = new Queue(QUEUE, { connection: redis, prefix });
});
afterEach(async () => {
  await consumer?.close();
  await queue.obliterate({ force: true });
  await queue.close();
  redis.disconnect();
});

/** Has the first worker get a connection on which a blocking read never ends, whatever is done to it. */
function dieOnce(): { died(): boolean } {
  const duplicate = redis.duplicate.bind(redis);
  let has = false;
  redis.duplicate = (options) => {
    const copy = duplicate(options);
    redis.duplicate = duplicate;
    copy.bzpopmin = () => {
      has = true;
      return never();
    };
    copy.disconnect = () => undefined;
    return copy;
  };
  return { died: () => has };
}

/** Has the first worker hear of a message only when it is released. */
function delayOnce() {
  const duplicate = redis.duplicate.bind(redis);
  let state: 'starts' | 'listens' | 'heard' = 'starts';
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  redis.duplicate = (options) => {
    const copy = duplicate(options);
    redis.duplicate = duplicate;
    const read = copy.bzpopmin.bind(copy) as (...args: unknown[]) => Promise<unknown>;
    const late = async (...args: unknown[]) => {
      state = 'listens';
      const marker = await read(...args);
      if (!marker) return marker;
      state = 'heard';
      await released;
      return marker;
    };
    copy.bzpopmin = late as typeof copy.bzpopmin;
    return copy;
  };
  return { is: (wanted: typeof state) => state === wanted, release: () => release() };
}

/** Lets the consumer look once, and resolves when it has its answers. */
async function look(): Promise<null> {
  await clock.advance(LOOK_EVERY_MS);
  await redis.ping();
  return null;
}

function consume(take: (message: Message) => Promise<void>, faults: string[]): Consumer {
  return startConsumer({
    redis,
    prefix,
    queue: QUEUE,
    slots: 2,
    take,
    clock,
    onFault: ({ message }) => void faults.push(message),
    onFailed: ({ message }) => void faults.push(message),
  });
}

it('takes again on a new connection, once each, and keeps what is under way', async () => {
  const faults: string[] = [];
  const taken: string[] = [];
  const { died } = dieOnce();
  let finish = () => {};
  consumer = consume(async (message) => {
    taken.push(String(message.id));
    if (message.id === 'm-long') await new Promise<void>((resolve) => (finish = resolve));
  }, faults);
  await queue.add('long', null, { jobId: 'm-long', removeOnComplete: true });
  await until('the first is taken', WITHIN_MS, () => taken.length === 1);
  await until('the worker is dead', WITHIN_MS, died);
  for (let i = 0; i < 10; i++) await queue.add('m', null, { jobId: `m-${i}`, removeOnComplete: true });
  // The first look still sees that one was taken.
  for (let looks = 0; looks < 3; looks++) {
    expect(faults).toEqual([]);
    await look();
  }
  await until('it is opened anew', WITHIN_MS, () => faults.length > 0);
  await until('the others are taken', WITHIN_MS, () => taken.length === 11);
  expect(new Set(taken).size).toBe(11);
  expect(faults.filter((fault) => fault.includes('none is taken'))).toHaveLength(1);
  finish();
  await until('nothing is left', WITHIN_MS, async () => {
    const counts = await queue.getJobCounts();
    return Object.values(counts).every((count) => count === 0);
  });
});

it('leaves a worker alone that is busy, paused or idle', async () => {
  const faults: string[] = [];
  let finish = () => {};
  const over = new Promise<void>((resolve) => (finish = resolve));
  let taken = 0;
  consumer = consume(async () => {
    taken++;
    await over;
  }, faults);
  for (let i = 0; i < 5; i++) await queue.add('m', null, { jobId: `m-${i}`, removeOnComplete: true });
  await until('its slots are full', WITHIN_MS, () => taken === 2);
  for (let looks = 0; looks < 4; looks++) await look();
  expect([taken, faults]).toEqual([2, []]);
  consumer.pause();
  finish();
});

it('hands back what it is given while it closes', async () => {
  const faults: string[] = [];
  const taken: string[] = [];
  const { is, release } = delayOnce();
  const closing = consume(async (message) => void taken.push(String(message.id)), faults);
  await until('the worker listens', WITHIN_MS, () => is('listens'));
  await queue.add('late', null, { jobId: 'm-late', removeOnComplete: true });
  await until('it has heard of the message', WITHIN_MS, () => is('heard'));
  const closed = closing.close();
  release();
  await closed;
  expect([taken, faults]).toEqual([[], []]);
  expect(await queue.getWaitingCount()).toBe(1);
});

/**
 * Connections to Redis that break: short breaks cost no error, long ones no time and no memory.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRedis, type Purpose, type Redis } from '../../shared/redis/connect.js';
import { isRedisFailure } from '../../shared/redis/failures.js';
import { until } from '../faults/until.js';
import { type OwnRedis, openOwnRedis } from '../support/own-redis.js';
import { openProxy, type TcpProxy } from '../support/proxy.js';

const SHORT_MS = 1900;
const ANSWER_MS = 2500;
/** A command that is told at once what it waits for. */
const AT_ONCE_MS = 500;
const NOBODY = 1;

let server: OwnRedis;
let way: TcpProxy;
let redis: Redis;

beforeEach(async () => {
  server = await openOwnRedis();
  way = await openProxy(server.port);
});
afterEach(async () => {
  redis?.disconnect();
  await way.close();
  await server.close();
});

async function open(purpose: Purpose): Promise<void> {
  redis = await openRedis(`redis://127.0.0.1:${way.port}`, purpose, () => undefined);
}

/** Has every connection end, and none succeed until `heal`. */
function goAway(): { heal(): void } {
  way.lead(NOBODY);
  way.cut();
  return { heal: () => way.lead(server.port) };
}

/** Resolves with what became of a command, and after how long. */
async function outcome(command: Promise<unknown>): Promise<{ error: unknown; tookMs: number }> {
  const startedMs = performance.now();
  const error = await command.then(
    () => null,
    (error: unknown) => error,
  );
  return { error, tookMs: performance.now() - startedMs };
}

describe('a request connection', () => {
  beforeEach(() => open('request'));

  it('that is killed again and again costs no command an error', async () => {
    let kills = 0;
    for (let i = 0; i < 200; i++) {
      const commands = Promise.all([redis.set(`k${i}`, i), redis.get(`k${i}`), redis.incr('count')]);
      if (i % 20 === 0) {
        way.cut();
        kills++;
      }
      await commands;
    }
    expect(kills).toBe(10);
    // An answer may have been lost of what was carried out.
    const count = Number(await redis.get('count'));
    expect(count).toBeGreaterThanOrEqual(200);
    expect(count).toBeLessThanOrEqual(200 + kills);
  });

  it(`holds commands over a break of ${SHORT_MS} ms`, async () => {
    const { heal } = goAway();
    setTimeout(heal, SHORT_MS);
    const outcomes: Promise<{ error: unknown }>[] = [];
    for (let waitedMs = 0; waitedMs < SHORT_MS; waitedMs += 50) {
      outcomes.push(outcome(redis.incr('count')));
      await pause(50);
    }
    expect((await Promise.all(outcomes)).map(({ error }) => error)).toEqual(outcomes.map(() => null));
    expect(await redis.get('count')).toBe(String(outcomes.length));
  });

  it.each([
    ['is away', () => goAway()],
    [
      'says nothing',
      () => {
        server.freeze();
        return { heal: () => server.thaw() };
      },
    ],
  ])('fails in time while Redis %s, then at once, and keeps nothing for later', async (_, fail) => {
    await redis.set('before', 1);
    const { heal } = fail();
    const early = await Promise.all([
      outcome(redis.incr('count')),
      pause(500).then(() => outcome(redis.incr('count'))),
    ]);
    for (const { error, tookMs } of early) {
      expect(isRedisFailure(error)).toBe(true);
      expect(tookMs).toBeLessThanOrEqual(ANSWER_MS);
    }
    const late = await Promise.all(
      Array.from({ length: 1000 }, () => outcome(redis.set('late', 'x'.repeat(10_000)))),
    );
    for (const { error, tookMs } of late) {
      expect(isRedisFailure(error)).toBe(true);
      expect(tookMs).toBeLessThanOrEqual(AT_ONCE_MS);
    }
    heal();
    await until('it answers', 5000, async () => (await outcome(redis.ping())).error === null);
    expect(await redis.get('late')).toBeNull();
  });
});

describe('any connection', () => {
  it.each<Purpose>(['request', 'work', 'listen'])(
    '(%s) sends the rest of a torn pipeline again',
    async (purpose) => {
      await open(purpose);
      const values = ['a', 'b', 'c'].map((letter) => letter.repeat(2000));
      await Promise.all(values.map((value, i) => redis.set(`torn${i}`, value)));
      const [read] = await Promise.all([
        Promise.all(values.map((_, i) => redis.get(`torn${i}`))),
        way.loseAnswer('torn', 3000),
      ]);
      expect(read).toEqual(values);
    },
  );

  it('has a torn MULTI fail as a whole', async () => {
    await open('request');
    const multi = redis.multi().set('torn', 1).set('other', 'x').exec();
    const [{ error }] = await Promise.all([outcome(multi), way.loseAnswer('torn', 8)]);
    expect(isRedisFailure(error)).toBe(true);
    await redis.ping();
  });
});

it('a node of a cluster that is down is a failure of Redis', async () => {
  await server.kill();
  await server.restart(['--cluster-enabled', 'yes', '--appendonly', 'no']);
  await open('request');
  const { error } = await outcome(redis.set('k', 1));
  expect(error).toMatchObject({ message: expect.stringMatching(/^CLUSTERDOWN/) });
  expect(isRedisFailure(error)).toBe(true);
});

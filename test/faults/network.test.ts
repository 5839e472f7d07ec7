/**
 * F11 and F12: the network between a process and Redis is cut, without a word or with a reset, or slow.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { IS_LONG } from '../support/long.js';
import type { TcpProxy } from '../support/proxy.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

/** Longer than a worker's locks (8 s) and the look for lost ones: its jobs are taken elsewhere. */
const SILENT_MS = 30_000;
const RESUME_MS = 10_000;
const LATENCY_MS = 200;

let room: Room;
afterEach(() => room?.close());

const submit = (count: number) =>
  room.submitAll(Array.from({ length: count }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] })));

/** A room whose only worker reaches Redis by a way that can be cut. */
async function openOnWay(): Promise<TcpProxy> {
  room = await openRoom({ workers: 0 });
  const way = await room.wayToRedis();
  room.stack.addWorker({ REDIS_URL: way.url });
  await room.serving(1);
  return way;
}

describe('a worker whose network', () => {
  it.runIf(IS_LONG)(
    'is cut without a word is replaced by another, and goes on when it heals',
    {
      timeout: 150_000,
    },
    async () => {
      const way = await openOnWay();
      await room.ended(await submit(8));
      way.silence();
      const cutMs = performance.now();
      const stranded = await submit(40);
      room.stack.addWorker();
      await room.serving(2);
      await room.ended(stranded);
      await pause(Math.max(0, SILENT_MS - (performance.now() - cutMs)));

      // Only the one that was cut off is left to do the rest.
      const [, other] = room.stack.workers;
      other?.kill('SIGTERM');
      await until('the other has ended', 20_000, () => other?.exitCode !== null);
      const ids = await submit(8);
      way.heal();
      const healedMs = Date.now();
      const jobs = await room.ended(ids);
      const seconds =
        (Math.min(...jobs.map(({ finishedAt }) => Date.parse(finishedAt ?? ''))) - healedMs) / 1000;
      figure('F11', 'a worker works again, seconds after its network healed', seconds, '1');
      expect(seconds * 1000).toBeLessThanOrEqual(RESUME_MS);
      expect(violationsIn(await room.verdicts())).toEqual([]);
    },
  );

  it('is reset goes on at once', async () => {
    const way = await openOnWay();
    await room.ended(await submit(8));
    const ids = await submit(100);
    way.cut();
    const cutMs = Date.now();
    const jobs = await room.ended(ids);
    const seconds = (Math.max(...jobs.map(({ finishedAt }) => Date.parse(finishedAt ?? ''))) - cutMs) / 1000;
    figure(
      'F11',
      'all of 100 jobs done, seconds after every connection of the worker was reset',
      seconds,
      '-',
    );
    expect(violationsIn(await room.verdicts())).toEqual([]);
  });

  it.runIf(IS_LONG)(`answers after ${LATENCY_MS} ms does every job once`, async () => {
    const way = await openOnWay();
    way.slow(LATENCY_MS / 2);
    const jobs = await room.ended(await submit(100));
    expect(jobs.map(({ attempts }) => attempts)).toEqual(jobs.map(() => 1));
    const verdicts = await room.verdicts();
    expect(violationsIn(verdicts)).toEqual([]);
    figure(
      'F12',
      'jobs executed again at 200 ms of latency',
      verdicts[3]?.counts['executed again'] ?? 0,
      '0',
    );
    expect(verdicts[3]?.counts['executed again'] ?? 0).toBe(0);
  });
});

describe('an API whose network', () => {
  it.runIf(IS_LONG)(
    'is cut without a word says 503 in time, and takes jobs again when it heals',
    async () => {
      room = await openRoom();
      const way = await room.wayToRedis();
      const api = await room.stack.addApi({ REDIS_URL: way.url });
      await until(
        'the API answers',
        20_000,
        async () => (await fetch(`${api.url}/readyz`).catch(() => null))?.status === 200,
      );
      const { client, ledger } = room;
      const entry = ledger.open({ tenant: TENANTS[0], digits: [5], key: 'through the cut' });
      way.silence();
      let slowestMs = 0;
      const cutMs = performance.now();
      while (performance.now() - cutMs < 5000) {
        const reply = await client.ask(TENANTS[0], 'POST', '/v1/jobs', api, ledger.bodyOf(entry), entry.key);
        expect(reply).toMatchObject({ status: 503, body: { code: 'unavailable' } });
        slowestMs = Math.max(slowestMs, reply.tookMs);
      }
      figure('F11', 'slowest 503 of an API that was cut off, seconds', slowestMs / 1000, '2.5');
      expect(slowestMs).toBeLessThanOrEqual(2500);
      way.heal();
      const healedMs = performance.now();
      const answer = await client.insist(entry, () => api, 20_000);
      figure(
        'F11',
        'an API takes jobs again, seconds after its network healed',
        (performance.now() - healedMs) / 1000,
        '1',
      );
      expect(answer.is).toBe('accepted');
      expect(violationsIn(await room.verdicts())).toEqual([]);
    },
  );
});

/**
 * F11: connections of an API to Redis break, for a moment or for long, while callers ask.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TcpProxy } from '../support/proxy.js';
import type { Api } from '../support/stack.js';
import type { Answer } from './evidence.js';
import { figure } from './figures.js';
import { isReady, openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const KILLS = 20;
const SHORT_MS = 1900;
const LONG_MS = 15_000;
const ANSWER_MS = 2500;
/** The time of an answer once Redis is given up. */
const AT_ONCE_MS = 1000;
const CALLERS = 32;
const NOBODY = 1;
const GROWTH_BYTES = 64 * 1024 ** 2;

let room: Room;
let way: TcpProxy;
let api: Api;
beforeAll(async () => {
  room = await openRoom();
  way = await room.wayToRedis();
  api = await room.stack.addApi({ REDIS_URL: `redis://127.0.0.1:${way.port}` });
  await until('the API answers', 20_000, () => isReady(api));
});
afterAll(() => room?.close());

function submit(nth: number): Promise<Answer> {
  return room.client.submit(room.ledger.open({ tenant: TENANTS[0], digits: [nth % 10] }), api);
}

/** Breaks every connection, and lets none succeed until `heal`. */
function breakOff(): { heal(): void } {
  way.lead(NOBODY);
  way.cut();
  return { heal: () => way.lead(room.redis.port) };
}

/** Has many callers ask again and again; each answer comes with the time since the beginning at which it was asked for. */
async function ask(forMs: number): Promise<{ atMs: number; answer: Answer }[]> {
  const answers: { atMs: number; answer: Answer }[] = [];
  const startedMs = performance.now();
  const caller = async (nth: number) => {
    for (let atMs = 0; atMs < forMs; atMs = performance.now() - startedMs) {
      answers.push({ atMs, answer: await submit(nth) });
      await pause(20);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, nth) => caller(nth)));
  return answers;
}

const residentBytes = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${api.process.pid}/status`, 'utf8'))?.[1]) * 1024;

it('kills of all connections cost no caller an error', async () => {
  for (let kill = 0; kill < KILLS; kill++) {
    const submits = Promise.all([submit(1), submit(2), submit(3)]);
    await room.records.call('CLIENT', 'KILL', 'TYPE', 'normal');
    const answers = [...(await submits), await submit(4), await submit(5)];
    expect(answers.map(({ is }) => is)).toEqual(answers.map(() => 'accepted'));
  }
});

it(`a break of ${SHORT_MS} ms costs no caller an error`, async () => {
  const { heal } = breakOff();
  setTimeout(heal, SHORT_MS);
  const answers = await ask(SHORT_MS + 500);
  expect(answers.filter(({ answer }) => answer.is !== 'accepted')).toEqual([]);
});

it('a long break is 503 in time, then at once, and costs no memory', { timeout: 60_000 }, async () => {
  const before = residentBytes();
  const { heal } = breakOff();
  const answers = await ask(LONG_MS);
  const grownBytes = residentBytes() - before;
  heal();
  expect(answers.every(({ answer }) => answer.is === 'unknown' && answer.why === '503 unavailable')).toBe(
    true,
  );
  const slowest = (of: typeof answers) => Math.max(...of.map(({ answer }) => answer.tookMs));
  const late = answers.filter(({ atMs }) => atMs > ANSWER_MS);
  figure('F11', `slowest of ${answers.length} answers in a break, seconds`, slowest(answers) / 1000, '2.5');
  figure('F11', `slowest of ${late.length} later ones, seconds`, slowest(late) / 1000, '1');
  figure('F11', 'MiB that the API grew by meanwhile', grownBytes / 1024 ** 2, '64');
  expect(slowest(answers)).toBeLessThanOrEqual(ANSWER_MS);
  expect(slowest(late)).toBeLessThanOrEqual(AT_ONCE_MS);
  expect(late.length).toBeGreaterThan(CALLERS * 10);
  expect(grownBytes).toBeLessThanOrEqual(GROWTH_BYTES);
  await until('jobs are taken again', 5000, async () => (await submit(1)).is === 'accepted');
});

it('every job is done, and none twice', async () => {
  expect(violationsIn(await room.verdicts())).toEqual([]);
});

/**
 * F7: Redis stops answering for 30 s, with every connection open.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { childrenOf, signal } from '../support/processes.js';
import { figure } from './figures.js';
import { openRoom, type Room } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const FROZEN_MS = 30_000;
const ANSWER_MS = 2500;

let room: Room;
afterEach(async () => {
  room?.redis.thaw();
  await room?.close();
});

it('submits are told 503 within 2.5 s; the same key is the same job afterwards; little is done twice', {
  timeout: 150_000,
}, async () => {
  room = await openRoom();
  const load = startSteady(room);
  const [child] = childrenOf(room.stack.workers[0]?.pid);
  await until('jobs come in', 20_000, () => load.accepted.length >= 50);
  signal(child, 'SIGSTOP');
  await until('jobs are in flight', 10_000, async () => (await room.running()).length > 1);
  const inFlight = (await room.running()).length;

  room.redis.freeze();
  signal(child, 'SIGCONT');
  const before = load.answers().length;
  await pause(FROZEN_MS);
  const meanwhile = load.answers().slice(before);
  room.redis.thaw();
  const acceptedBefore = load.accepted.length;
  const thawedMs = performance.now();
  await until('a job is accepted', 20_000, () => load.accepted.length > acceptedBefore);
  figure('F7', 'first job accepted, seconds after the thaw', (performance.now() - thawedMs) / 1000, '-');

  const unknown = meanwhile.filter(({ is }) => is === 'unknown');
  const slowestMs = Math.max(...meanwhile.map(({ tookMs }) => tookMs));
  figure('F7', `slowest of ${meanwhile.length} answers while frozen, seconds`, slowestMs / 1000, '2.5');
  expect(unknown.length).toBeGreaterThan(10);
  expect(unknown.every((answer) => answer.is === 'unknown' && answer.why === '503 unavailable')).toBe(true);
  expect(slowestMs).toBeLessThanOrEqual(ANSWER_MS);

  await load.stop();
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  const again = executedAgain(room.stack.output());
  figure('F7', 'jobs executed again', again, `at most ${inFlight} in flight`);
  expect(again).toBeLessThanOrEqual(inFlight);
});

/**
 * Returns the number of jobs that a worker began more than once, by its log. The records count starts, also those of a turn whose
 * answer was lost: of such a job the worker heard when it took it over.
 */
function executedAgain(output: string): number {
  const begun = new Map<string, number>();
  for (const [, job = ''] of output.matchAll(/"job":"(job_\w+)","execution":\d+,"msg":"started"/g))
    begun.set(job, (begun.get(job) ?? 0) + 1);
  if (begun.size === 0) throw new Error('No job was begun.');
  return [...begun.values()].filter((count) => count > 1).length;
}

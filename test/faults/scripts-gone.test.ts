/**
 * Redis forgets its scripts again and again, under load and by a restart.
 */
import { afterEach, expect, it } from 'vitest';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const FLUSH_EVERY_MS = 100;
const FLUSHES = 60;
const BULK = 50;

let room: Room;
afterEach(() => room?.close());

it('no caller hears of it, no job is lost or done twice, and webhooks go out', {
  timeout: 120_000,
}, async () => {
  room = await openRoom();
  await room.endpoint();
  const load = startSteady(room);
  await until('jobs come in', 20_000, () => load.accepted.length >= 20);

  const before = load.answers().length;
  let flushes = 0;
  const flushing = setInterval(() => {
    flushes++;
    void room.records.script('FLUSH', 'SYNC');
  }, FLUSH_EVERY_MS);
  try {
    while (flushes < FLUSHES)
      await room.submitAll(
        Array.from({ length: BULK }, (_, nth) => ({ tenant: TENANTS[1], digits: [nth % 10] })),
      );
  } finally {
    clearInterval(flushing);
  }
  const answers = load.answers().slice(before);
  figure(
    'F6',
    `answers under ${flushes} flushes that were not 202`,
    answers.filter(({ is }) => is !== 'accepted').length,
    '0',
  );
  expect(answers.filter(({ is }) => is !== 'accepted')).toEqual([]);

  await room.redis.kill();
  await room.redis.restart();
  const next = load.accepted.length;
  await until('jobs come in again', 10_000, () => load.accepted.length > next + 20);
  await load.stop();
  expect(violationsIn(await room.verdicts())).toEqual([]);
});

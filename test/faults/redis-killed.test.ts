/**
 * F6: Redis is killed and comes back with its append-only file.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

/** Longer than a worker waits for jobs at a time: shorter ones it may not even notice. */
const OUTAGE_MS = 6000;
const RESUME_MS = 5000;
const ANSWER_MS = 2500;

let room: Room;
afterEach(() => room?.close());

it('nothing accepted is lost; submits are told 503 meanwhile; work goes on within 5 s', async () => {
  room = await openRoom();
  const load = startSteady(room);
  await until('jobs come in', 20_000, () => load.accepted.length >= 50);

  await room.redis.kill();
  const downMs = performance.now();
  let slowestMs = 0;
  while (performance.now() - downMs < OUTAGE_MS) {
    const entry = room.ledger.open({ tenant: TENANTS[0], digits: [1], key: 'meanwhile' });
    const body = room.ledger.bodyOf(entry);
    const reply = await room.client.ask(TENANTS[0], 'POST', '/v1/jobs', room.api, body, entry.key);
    expect(reply).toMatchObject({ status: 503, body: { code: 'unavailable', retryable: true } });
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
    slowestMs = Math.max(slowestMs, reply.tookMs);
    await pause(100);
  }
  figure('F6', 'slowest 503 while Redis was down, seconds', slowestMs / 1000, '2.5');
  expect(slowestMs).toBeLessThanOrEqual(ANSWER_MS);

  await room.redis.restart();
  const upMs = Date.now();
  const next = load.accepted.length;
  const id = await until('a job is accepted', RESUME_MS, () => load.accepted[next] ?? null);
  const [job] = await room.ended([id]);
  const resumedMs = Date.parse(job?.finishedAt ?? '') - upMs;
  figure('F6', 'first new job done, seconds after Redis was ready', resumedMs / 1000, '5');
  expect(resumedMs).toBeLessThanOrEqual(RESUME_MS);
  await load.stop();
  expect(violationsIn(await room.verdicts())).toEqual([]);
});

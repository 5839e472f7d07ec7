/**
 * F13: sentinels promote a replica because the primary was killed, again and again, under load.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { IS_LONG } from '../support/long.js';
import { openSentinelSet, type SentinelSet } from '../support/redis-sentinels.js';
import { figure } from './figures.js';
import { openRoom, type Room } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const FAILOVERS = IS_LONG ? 20 : 2;
const RESUME_MS = 10_000;
const CALM_MS = 1000;

let set: SentinelSet;
let room: Room | undefined;
afterEach(async () => {
  await room?.close();
  room = undefined;
});

it(`a primary that is killed ${FAILOVERS} times costs no accepted job, and no process a restart`, {
  timeout: 60_000 + FAILOVERS * 60_000,
}, async () => {
  set = await openSentinelSet();
  room = await openRoom({
    startRedis: async () => set,
    env: { REDIS_URL: set.sentinelUrl, SLUICE_REDIS_WAIT: '1' },
  });
  const { stack } = room;
  const pids = [stack.api, ...stack.workers].map(({ pid }) => pid);
  const load = startSteady(room);
  const tookMs: number[] = [];
  for (let nth = 0; nth < FAILOVERS; nth++) {
    const before = load.accepted.length;
    await until('jobs come in', 20_000, () => load.accepted.length >= before + 20);
    const killedMs = Date.now();
    const over = set.failOver();
    const next = load.accepted.length;
    const id = await until('a job is accepted after it', 60_000, () => load.accepted[next + 8] ?? null);
    const [job] = await room.ended([id]);
    tookMs.push(Date.parse(job?.finishedAt ?? '') - killedMs);
    await over;
    await pause(CALM_MS);
  }
  await load.stop();
  figure(
    'F13',
    `sentinels: ${FAILOVERS} primaries killed, seconds until a job is done`,
    Math.max(...tookMs) / 1000,
    '10',
  );
  expect(Math.max(...tookMs)).toBeLessThanOrEqual(RESUME_MS);
  expect([stack.api, ...stack.workers].map(({ pid, exitCode }) => (exitCode === null ? pid : null))).toEqual(
    pids,
  );
  expect(violationsIn(await room.verdicts())).toEqual([]);
});

it('a call whose replicas are gone is told so, the next one at once, and each is carried out', {
  timeout: 60_000,
}, async () => {
  set = await openSentinelSet();
  room = await openRoom({
    startRedis: async () => set,
    env: { REDIS_URL: set.sentinelUrl, SLUICE_REDIS_WAIT: '1' },
  });
  const { stack } = room;
  const job = { model: 'mnist', instances: [Array(784).fill(0)] };
  const submit = (key: string) => stack.request('POST', '/v1/jobs', job, { 'idempotency-key': key });
  expect((await submit('before')).status).toBe(202);
  await set.killReplicas();
  const refused = await submit('after');
  expect([refused.status, refused.body.code]).toEqual([503, 'not_replicated']);
  expect(refused.headers.get('retry-after')).toBe('1');
  const { body } = await stack.request('GET', '/v1/jobs?limit=100');
  expect(body.data).toHaveLength(2);
  const [startedMs, again] = [performance.now(), await submit('after')];
  expect([again.status, again.body.code]).toEqual([503, 'not_replicated']);
  expect(performance.now() - startedMs).toBeLessThan(1000);
  expect((await stack.request('GET', '/v1/jobs?limit=100')).body.data).toHaveLength(2);
});

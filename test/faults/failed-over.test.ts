/**
 * F13: the primary becomes a replica and its replica the primary, while every connection stays open.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { openRedis } from '../../shared/redis/connect.js';
import { createBatchFiles } from '../support/batch-files.js';
import { openRedisPair, type RedisPair } from '../support/redis-pair.js';
import { ROOT } from '../support/stack.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const RESUME_MS = 5000;
const ANSWER_MS = 2500;
const REPLICA = /role:slave/;
const AGAIN_MS = 3000;
const LINES = 3000;
const { instances } = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const lines = Array.from({ length: LINES }, () => ({ instances }));

let pair: RedisPair;
let room: Room | undefined;
afterEach(async () => {
  await room?.close();
  room = undefined;
});

it('submits, polls, jobs, webhooks and batches go on within 5 s, each once, and nobody is left on the old node', {
  timeout: 150_000,
}, async () => {
  room = await openRoom({
    startRedis: async () => {
      pair = await openRedisPair();
      return pair;
    },
  });
  await room.endpoint();
  const { client, api } = room;
  const files = createBatchFiles(room.stack);
  const load = startSteady(room);
  await until('jobs come in', 20_000, () => load.accepted.length >= 50);

  for (const nth of [1, 2]) {
    const batch = await files.create(lines);
    await files.until(batch.id, 'it is driven', RESUME_MS, ({ counts }) => counts.succeeded > 0);
    const before = load.answers().length;
    const old = pair.primary;
    await pair.failOver();
    const overMs = Date.now();
    const next = load.accepted.length;
    const id = await until('a job is accepted', RESUME_MS, () => load.accepted[next] ?? null);
    const [job] = await room.ended([id]);
    const resumedMs = Date.parse(job?.finishedAt ?? '') - overMs;
    figure('F13', `failover ${nth}: first new job done, seconds after it`, resumedMs / 1000, '5');
    expect(resumedMs).toBeLessThanOrEqual(RESUME_MS);
    const polled = await client.ask(TENANTS[0], 'GET', `/v1/jobs/${id}`, api);
    expect(polled.status).toBe(200);

    const { counts } = await files.ended(batch.id);
    expect(counts).toMatchObject({ total: LINES, succeeded: LINES });
    expect(await old.info('replication')).toMatch(REPLICA);
    await until(
      'nobody is left on the old node',
      RESUME_MS,
      async () => (await strangersOf(old)).length === 0,
    );
    await pause(AGAIN_MS);
    const meanwhile = load.answers().slice(before);
    const unknown = meanwhile.filter(({ is }) => is === 'unknown');
    const slowestMs = Math.max(...meanwhile.map(({ tookMs }) => tookMs));
    figure(
      'F13',
      `failover ${nth}: slowest of ${meanwhile.length} answers, seconds`,
      slowestMs / 1000,
      '2.5',
    );
    figure('F13', `failover ${nth}: answers that were 503`, unknown.length, '-');
    expect(slowestMs).toBeLessThanOrEqual(ANSWER_MS);
    for (const each of unknown) expect(each).toMatchObject({ why: '503 unavailable' });
  }

  await load.stop();
  expect(violationsIn(await room.verdicts())).toEqual([]);
});

it('a process that is led to a replica as it starts says so, and does not start on it', {
  timeout: 30_000,
}, async () => {
  pair = await openRedisPair();
  const told: string[] = [];
  const replica = new URL(pair.url);
  replica.port = String(pair.replicaPort);
  const opening = openRedis(
    replica.href,
    'request',
    () => undefined,
    (why) => void told.push(why),
  );
  await expect(opening).rejects.toThrow(/it is a replica/);
  expect(told[0]).toMatch(/waiting for Redis at 127\.0\.0\.1:\d+: it is a replica/);
  await pair.close();
});

/** Connections to this node that are neither between nodes nor the tests' own. */
async function strangersOf(node: RedisPair['primary']): Promise<string[]> {
  const clients = String(await node.client('LIST'))
    .trim()
    .split('\n');
  return clients.filter((each) => !/ flags=[A-Za-z]*[MS]/.test(each) && !/ name=test /.test(each));
}

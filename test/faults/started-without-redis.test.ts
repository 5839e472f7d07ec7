/**
 * F8 and its like: processes start before their Redis, and Redis comes back but has to read a long file first.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { IS_LONG } from '../support/long.js';
import { exited, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

let room: Room | undefined;
afterEach(async () => {
  await room?.close();
  room = undefined;
});

it('API and worker wait for a Redis that starts after them', async () => {
  room = await openRoom();
  await room.redis.kill();
  const api = await room.stack.addApi();
  room.stack.addWorker();
  await until(
    'both have found nobody',
    10_000,
    () => (room?.stack.output().match(/ECONNREFUSED/g) ?? []).length >= 2,
  );
  await room.redis.restart();
  await room.serving(2);
  await until(
    'the API answers',
    15_000,
    async () => (await fetch(`${api.url}/readyz`).catch(() => null))?.status === 200,
  );
});

it.runIf(IS_LONG)('a process that finds no Redis says so and ends', async () => {
  const folder = temporaryFolder();
  // Nobody listens at this port.
  const stack = await startStack('redis://user:hidden@127.0.0.1:1', {
    SLUICE_DATA_DIR: folder.path,
    LOG_LEVEL: 'info',
  });
  const codes = await Promise.all([stack.api, ...stack.workers].map(exited));
  expect(codes).toEqual([1, 1]);
  expect(stack.output()).toContain('Redis at 127.0.0.1:1 cannot be reached: connect ECONNREFUSED');
  expect(stack.output()).not.toContain('hidden');
  await stack.close();
  folder.remove();
});

/** Microseconds for each key that is read: half a minute of a large file in a few seconds. */
const KEY_LOAD_DELAY_US = 2000;
const KEYS = 1500;

it.runIf(IS_LONG)(
  'while Redis reads its file, submits are told 503; then work goes on, and nothing is lost',
  async () => {
    room = await openRoom();
    const { client, ledger, api, records } = room;
    const load = startSteady(room);
    await until('jobs come in', 20_000, () => load.accepted.length >= 50);
    const filling = records.pipeline();
    for (let i = 0; i < KEYS; i++) filling.set(`filler:${i}`, 'x');
    await filling.exec();

    await room.redis.kill();
    let isLoaded = false;
    const restarted = room.redis.restart(['--key-load-delay', String(KEY_LOAD_DELAY_US)]).then(() => {
      isLoaded = true;
    });
    let refused = 0;
    const startedMs = performance.now();
    while (!isLoaded) {
      const entry = ledger.open({ tenant: TENANTS[0], digits: [1], key: 'while it loads' });
      const reply = await client.ask(TENANTS[0], 'POST', '/v1/jobs', api, ledger.bodyOf(entry), entry.key);
      // The last one may find it loaded.
      if (reply.status === 503) refused++;
      else expect(reply.status).toBe(202);
      await pause(50);
    }
    await restarted;
    figure(
      'F8',
      `503 answers while Redis loaded for ${Math.round(performance.now() - startedMs)} ms`,
      refused,
      'all',
    );
    expect(refused).toBeGreaterThan(5);
    const loadedMs = Date.now();
    const next = load.accepted.length;
    const id = await until('a job is accepted', 20_000, () => load.accepted[next] ?? null);
    const [job] = await room.ended([id]);
    figure(
      'F8',
      'first job done, seconds after Redis had loaded',
      (Date.parse(job?.finishedAt ?? '') - loadedMs) / 1000,
      '5',
    );
    await load.stop();
    expect(violationsIn(await room.verdicts())).toEqual([]);
  },
);

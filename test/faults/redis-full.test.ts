/**
 * F9: Redis is full and refuses every write, those of jobs that run too.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const FULL_MS = 6000;

let room: Room;
afterEach(async () => {
  await room?.records.config('SET', 'maxmemory', '0');
  await room?.close();
});

it('submits are told that there is no room; what was accepted ends once there is, without a restart', async () => {
  room = await openRoom({ env: { LOG_LEVEL: 'info' } });
  const { client, ledger, api, records } = room;
  const load = startSteady(room);
  await until('jobs come in', 20_000, () => load.accepted.length >= 50);

  const used = Number(/used_memory:(\d+)/.exec(await records.info('memory'))?.[1]);
  const logged = room.stack.output().length;
  await records.config('SET', 'maxmemory', String(Math.floor(used / 2)));
  const fullMs = performance.now();
  const codes = new Set<string>();
  while (performance.now() - fullMs < FULL_MS) {
    const entry = ledger.open({ tenant: TENANTS[0], digits: [1], key: 'when full' });
    const reply = await client.ask(TENANTS[0], 'POST', '/v1/jobs', api, ledger.bodyOf(entry), entry.key);
    expect(reply.status).toBe(503);
    codes.add(reply.body.code);
    await pause(100);
  }
  const seconds = (performance.now() - fullMs) / 1000;
  await records.config('SET', 'maxmemory', '0');

  // Until the watermark looks, Redis itself refuses; each kind of line of each process once a second.
  expect([...codes].sort()).toContain('insufficient_storage');
  const errors = room.stack
    .output()
    .slice(logged)
    .split('\n')
    .flatMap((line) =>
      line.includes('"heldBack"') ? [JSON.parse(line) as { pid: number; kind: string }] : [],
    );
  const perKind = new Map<string, number>();
  for (const { pid, kind } of errors) perKind.set(`${pid} ${kind}`, (perKind.get(`${pid} ${kind}`) ?? 0) + 1);
  const most = Math.max(0, ...perKind.values());
  figure('F9', `most lines of one kind in ${seconds.toFixed(1)} s`, most, '1 a second');
  expect(most).toBeLessThanOrEqual(Math.ceil(seconds) + 1);

  const next = load.accepted.length;
  const freedMs = performance.now();
  const id = await until('a job is accepted', 20_000, () => load.accepted[next] ?? null);
  await room.ended([id]);
  figure('F9', 'first new job done, seconds after there was room', (performance.now() - freedMs) / 1000, '-');
  await load.stop();
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
});

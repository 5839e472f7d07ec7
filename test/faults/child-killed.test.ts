/**
 * F2: the process that computes is killed in the middle of a batch, and nothing but the process is lost.
 */
import { afterEach, expect, it } from 'vitest';
import { childrenOf, signal } from '../support/processes.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const JOBS = 48;
/** 2 s for another child, and generously for loading the model. */
const RESPAWN_MS = 10_000;

let room: Room;
afterEach(() => room?.close());

it('another child takes over; each job is started once and ends with its own numbers', async () => {
  room = await openRoom();
  const worker = room.stack.workers[0]?.pid;
  const [child] = childrenOf(worker);
  signal(child, 'SIGSTOP');
  const orders = Array.from({ length: JOBS }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] }));
  const ids = await room.submitAll(orders);
  await until('a batch runs', 10_000, async () => (await room.running()).length > 1);

  signal(child, 'SIGKILL');
  const killedMs = performance.now();
  await until('another child is there', RESPAWN_MS, () => childrenOf(worker).some((pid) => pid !== child));
  figure('F2', 'another child forked, seconds after the kill', (performance.now() - killedMs) / 1000, '2');
  await room.ended(ids);
  figure(
    'F2',
    'all jobs done, seconds after the kill',
    (performance.now() - killedMs) / 1000,
    '2 + model load',
  );
  expect(performance.now() - killedMs).toBeLessThanOrEqual(RESPAWN_MS);

  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(verdicts[3]?.counts, 'no job was started again').toMatchObject({
    results: JOBS,
    executions: JOBS,
  });
});

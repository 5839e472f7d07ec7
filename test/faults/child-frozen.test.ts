/**
 * The process that computes stands still while it has nothing to do: nobody waits for it when there is.
 */
import { afterEach, expect, it } from 'vitest';
import { childrenOf, signal } from '../support/processes.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const JOBS = 48;
/** 5 s until it is asked for a sign, 10 s to give one, and generously for another child. */
const FOUND_MS = 20_000;

let room: Room;
afterEach(() => room?.close());

it('another child takes over before there is work, and each job is started once', async () => {
  room = await openRoom();
  const worker = room.stack.workers[0]?.pid;
  const [child] = childrenOf(worker);
  signal(child, 'SIGSTOP');
  const stoppedMs = performance.now();
  await until('another child is there', FOUND_MS, () => childrenOf(worker).some((pid) => pid !== child));
  figure(
    'heartbeat',
    'another child forked, seconds after one stood still',
    (performance.now() - stoppedMs) / 1000,
    '15',
  );
  expect(childrenOf(worker)).not.toContain(child);
  const orders = Array.from({ length: JOBS }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] }));
  await room.ended(await room.submitAll(orders));

  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(verdicts[3]?.counts).toMatchObject({ results: JOBS, executions: JOBS });
});

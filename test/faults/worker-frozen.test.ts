/**
 * F18: who holds the locks stands still for longer than they last, and comes back with results that others have computed meanwhile.
 */
import { afterEach, expect, it } from 'vitest';
import { childrenOf, signal } from '../support/processes.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const JOBS = 48;

let room: Room;
afterEach(() => room?.close());

it('each job ends once: what the frozen worker computed is void', async () => {
  room = await openRoom();
  const frozen = room.stack.workers[0]?.pid;
  const computing = childrenOf(frozen);
  // First the child, so that the batch cannot end before its worker stands still.
  for (const pid of computing) signal(pid, 'SIGSTOP');
  const orders = Array.from({ length: JOBS }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] }));
  const ids = await room.submitAll(orders);
  await until('a batch runs', 10_000, async () => (await room.running()).length > 1);
  signal(frozen, 'SIGSTOP');
  const held = (await room.running()).length;

  room.stack.addWorker();
  await room.serving(2);
  const before = await room.ended(ids);
  expect(room.stack.output()).not.toContain('"msg":"void"');
  for (const pid of [frozen, ...computing]) signal(pid, 'SIGCONT');
  const voids = () => room.stack.output().split('"msg":"void"').length - 1;
  await until('its results are void', 20_000, async () => voids() > 0);

  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(await room.ended(ids), 'as they had ended').toEqual(before);
  figure('F18', `results that came too late, of ${held} jobs in hand`, voids(), 'all void');
});

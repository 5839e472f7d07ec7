/**
 * F1: the machine of a worker dies in the middle of a batch.
 */
import { afterEach, expect, it } from 'vitest';
import { childrenOf, signal } from '../support/processes.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const JOBS = 48;
const RESTART_MS = 15_000;

let room: Room;
afterEach(() => room?.close());

it('another worker has its jobs done within 15 s; none is lost or done twice for nothing', async () => {
  room = await openRoom();
  const receiver = await room.receive();
  const [victim] = room.stack.workers;
  const computing = childrenOf(victim?.pid);
  // Frozen, so that the batch cannot end before its worker does.
  for (const pid of computing) signal(pid, 'SIGSTOP');
  const orders = Array.from({ length: JOBS }, (_, nth) => ({
    tenant: TENANTS[0],
    digits: [nth % 10],
    ...(nth % 4 === 0 && { webhook: { url: receiver.url, includePredictions: true } }),
  }));
  const ids = await room.submitAll(orders);
  await until('a batch runs', 10_000, async () => (await room.running()).length > 1);
  room.stack.addWorker();
  await room.serving(2);
  const inFlight = (await room.running()).length;

  for (const pid of [victim?.pid, ...computing]) signal(pid, 'SIGKILL');
  const killedMs = Date.now();
  const jobs = await room.ended(ids);

  const lastMs = Math.max(...jobs.map(({ finishedAt }) => Date.parse(finishedAt ?? ''))) - killedMs;
  figure('F1', `last of ${inFlight} jobs in flight done, seconds after the kill`, lastMs / 1000, '15');
  expect(lastMs).toBeLessThanOrEqual(RESTART_MS);
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  const { executions = 0 } = verdicts[3]?.counts ?? {};
  figure('F1', 'executions', executions, `at most ${JOBS} + ${inFlight}`);
  expect(executions).toBeLessThanOrEqual(JOBS + inFlight);
});

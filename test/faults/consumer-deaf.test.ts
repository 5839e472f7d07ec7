/**
 * The connection on which a worker waits for jobs is dead, and nothing tells: it swallows what is sent and stays open. Or the one on
 * which jobs are sent to it breaks off again and again.
 */
import { afterEach, expect, it } from 'vitest';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { violationsIn } from './verdict-table.js';

const RESUME_MS = 30_000;
const JOBS = 40;
/** Upkeep repairs what a lost message leaves after five seconds at most. */
const REPAIRED_MS = 8000;
/** The end of a blocking read of the jobs' queue, which waits a second. */
const READ = 'inference-mnist-1:marker\r\n$1\r\n1\r\n';

let room: Room;
afterEach(() => room?.close());

it('a worker that cannot hear of jobs takes them again within 30 s', { timeout: 120_000 }, async () => {
  room = await openRoom({ workers: 0 });
  const way = await room.wayToRedis();
  room.stack.addWorker({ REDIS_URL: way.url });
  await room.serving(1);
  const submit = (count: number) =>
    room.submitAll(Array.from({ length: count }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] })));
  await room.ended(await submit(8));

  await way.swallow(READ);
  const deafMs = Date.now();
  const jobs = await room.ended(await submit(JOBS));
  const seconds = (Math.max(...jobs.map(({ finishedAt }) => Date.parse(finishedAt ?? ''))) - deafMs) / 1000;
  figure('F11', `all of ${JOBS} jobs done, seconds after the worker went deaf`, seconds, '30');
  expect(seconds * 1000).toBeLessThanOrEqual(RESUME_MS);
  expect(violationsIn(await room.verdicts())).toEqual([]);
});

it('a lone job that was sent to a worker is done, although its notices break off', {
  timeout: 120_000,
}, async () => {
  room = await openRoom();
  await room.serving(1);
  const tookMs: number[] = [];
  for (let nth = 0; nth < JOBS; nth++) {
    const kill = room.records.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    const ids = await room.submitAll([{ tenant: TENANTS[0], digits: [nth % 10] }]);
    if (nth % 2 === 0) await room.records.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await kill;
    const [job] = await room.ended(ids);
    tookMs.push(Date.parse(job?.finishedAt ?? '') - Date.parse(job?.createdAt ?? ''));
  }
  figure(
    'F11',
    `a lone job while notices break off, seconds at most of ${JOBS}`,
    Math.max(...tookMs) / 1000,
    '8',
  );
  expect(Math.max(...tookMs)).toBeLessThanOrEqual(REPAIRED_MS);
  expect(violationsIn(await room.verdicts())).toEqual([]);
});

/**
 * No fault, and a worker that is asked to stop: nothing is executed twice, and stopping hands nothing over lost.
 */
import { afterEach, expect, it } from 'vitest';
import { exited } from '../support/stack.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { violationsIn } from './verdict-table.js';

const ordersOf = (count: number) =>
  Array.from({ length: count }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] }));

let room: Room;
afterEach(() => room?.close());

/** Results that each worker settled, by its metrics. */
function shares(): Promise<number[]> {
  const ports = [...room.stack.output().matchAll(/"name":"worker".*"port":(\d+),"msg":"metrics on/g)];
  return Promise.all(
    ports.map(async ([, port]) => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return Number(/sluice_jobs_settled_total\{[^}]*status="succeeded"\} (\d+)/.exec(text)?.[1] ?? 0);
    }),
  );
}

it('two workers share 500 jobs; each is executed once', async () => {
  room = await openRoom({ env: { SLUICE_ROLES: 'inference' }, workers: 2 });
  await room.ended(await room.submitAll(ordersOf(500)));
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(verdicts[3]?.counts).toMatchObject({ results: 500, executions: 500 });
  const [first = 0, second = 0] = await shares();
  expect(first + second, 'results settled').toBe(500);
  expect(Math.min(first, second)).toBeGreaterThan(0);
});

it('a worker that is told to stop under load ends cleanly, and another goes on', async () => {
  room = await openRoom();
  const [first] = room.stack.workers;
  const ids = await room.submitAll(ordersOf(200));
  const toldMs = performance.now();
  first?.kill('SIGTERM');
  expect(first && (await exited(first))).toBe(0);
  figure('F4', 'a worker stopped under load, seconds', (performance.now() - toldMs) / 1000, 'batch + 2');
  room.stack.addWorker();
  await room.ended(ids);
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(verdicts[3]?.counts, 'handed over, not done twice').toMatchObject({ executions: 200 });
});

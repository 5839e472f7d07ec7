/**
 * F3: an input that brings down whatever computes it, among innocent ones.
 */
import { afterEach, expect, it } from 'vitest';
import { childrenOf, signal } from '../support/processes.js';
import { ROOT } from '../support/stack.js';
import type { Poison } from './evidence.js';
import { figure } from './figures.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { violationsIn } from './verdict-table.js';

/** Small, so that a child that swells is dead soon. */
const HEAP_MB = 192;
const PRELOAD = `--import=${ROOT}/.build/test/faults/poison.js --max-old-space-size=${HEAP_MB}`;

let room: Room;
afterEach(() => room?.close());

const cases: [poison: Poison, innocent: number, code: string, crashes: number][] = [
  ['aborts', 31, 'input_crashed_backend', 6],
  ['swells', 3, 'input_crashed_backend', 3],
  ['throws', 31, 'backend_error', 0],
  ['hangs', 15, 'timeout', 2],
];

it.each(cases)('one that %s fails alone among %i', async (poison, innocent, code, most) => {
  room = await openRoom({ env: { NODE_OPTIONS: PRELOAD } });
  const [child] = childrenOf(room.stack.workers[0]?.pid);
  // Frozen while they are submitted, so that they meet.
  signal(child, 'SIGSTOP');
  const orders = Array.from({ length: innocent }, (_, nth) => ({ tenant: TENANTS[0], digits: [nth % 10] }));
  const middle = Math.floor(innocent / 2);
  const ids = await room.submitAll([
    ...orders.slice(0, middle),
    { tenant: TENANTS[0], digits: [7], poison, ...(poison === 'hangs' && { timeoutSeconds: 3 }) },
    ...orders.slice(middle),
  ]);
  signal(child, 'SIGCONT');
  const jobs = await room.ended(ids);

  expect(jobs[middle]).toMatchObject({ status: 'failed', error: { code } });
  const crashes = room.stack.output().split('child died').length - 1;
  figure('F3', `children that one of ${innocent + 1} cost, one that ${poison}`, crashes, `at most ${most}`);
  expect(crashes).toBeLessThanOrEqual(most);
  const again = code === 'input_crashed_backend' ? await submitAgain(poison) : 0;
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(verdicts[5]?.counts).toEqual({ innocent, poisoned: 1 + again });
});

/** Submits inputs that have crashed the backend before, which are refused without a run; resolves to their number. */
async function submitAgain(poison: Poison): Promise<number> {
  const before = room.stack.output().split('child died').length;
  const ids = await room.submitAll([{ tenant: TENANTS[0], digits: [7], poison }]);
  const [job] = await room.ended(ids);
  expect(job).toMatchObject({ status: 'failed', error: { code: 'input_crashed_backend' } });
  expect(job?.error?.message).toMatch(/within the last hour; it was not run again/);
  expect(room.stack.output().split('child died').length).toBe(before);
  return ids.length;
}

/**
 * Two tenants' jobs in one batch: each gets the rows of its own digits, and neither sees the other's.
 */
import { afterEach, expect, it } from 'vitest';
import { childrenOf, signal } from '../support/processes.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { violationsIn } from './verdict-table.js';

const JOBS = 32;

let room: Room;
afterEach(() => room?.close());

it('tenants share a batch, and each has the rows of its own', async () => {
  room = await openRoom();
  const [child] = childrenOf(room.stack.workers[0]?.pid);
  // Frozen while they are submitted, so that they meet.
  signal(child, 'SIGSTOP');
  const orders = Array.from({ length: JOBS }, (_, nth) => ({
    tenant: TENANTS[nth % 2] ?? TENANTS[0],
    digits: [(nth * 7) % 10],
  }));
  const ids = await room.submitAll(orders);
  signal(child, 'SIGCONT');
  const jobs = (
    await Promise.all(
      TENANTS.map((tenant, own) =>
        room.ended(
          ids.filter((_, nth) => nth % 2 === own),
          tenant,
        ),
      ),
    )
  ).flatMap((views, own) => views.map(({ timings }) => ({ own, size: timings?.batchSize ?? 0 })));
  const largest = Math.max(...jobs.map(({ size }) => size));
  const together = jobs.filter(({ size }) => size === largest);
  expect(together.length % largest, 'they are whole batches').toBe(0);
  expect(new Set(together.map(({ own }) => own)), 'of both').toEqual(new Set([0, 1]));
  // How many meet depends on when they come; a batch of two could be one tenant's.
  expect(largest).toBeGreaterThan(2);

  // Each answer is compared with its own digits by value, and all that a tenant saw with the canaries of the other.
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(verdicts[5]?.counts).toMatchObject({ innocent: JOBS });
});

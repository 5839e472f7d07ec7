/** Short pauses between attempts, waited for in the process. */
import { expect, it } from 'vitest';
import { createPauses } from '../../worker/delivery/pauses.js';
import { createManualClock } from '../support/clock.js';

function open() {
  const clock = createManualClock();
  const came: string[] = [];
  return { clock, came, pauses: createPauses(clock, (id) => void came.push(id)) };
}

it('waits for what comes soon, once, and leaves the rest to the queue', async () => {
  const { clock, came, pauses } = open();
  expect([pauses.wait('1', 5000), pauses.wait('2', 300_000)]).toEqual([true, false]);
  pauses.wait('1', 6000);
  await clock.advance(5999);
  expect(came).toEqual([]);
  await clock.advance(1);
  expect(came).toEqual(['1']);
});

it('tells what it waited for when it is closed, and lets nothing come then', async () => {
  const { clock, came, pauses } = open();
  pauses.wait('1', 5000);
  expect(pauses.close()).toEqual(['1']);
  expect(pauses.wait('2', 5000)).toBe(false);
  await clock.advance(60_000);
  expect(came).toEqual([]);
});

it('waits for so many at once', () => {
  const { pauses } = open();
  const taken = Array.from({ length: 10_001 }, (_, nth) => pauses.wait(String(nth), 5000));
  expect(taken.filter(Boolean)).toHaveLength(10_000);
});

/** Short pauses between attempts, waited for in the process. */
import { expect, it } from 'vitest';
import { createPauses } from '../../worker/delivery/short-delays.js';
import { createManualClock } from '../support/clock.js';

function open() {
  const clock = createManualClock();
  const came: string[] = [];
  const handedOn: string[] = [];
  const ends: (() => void)[] = [];
  const pauses = createPauses(clock, {
    attend: (id) => {
      came.push(id);
      return new Promise((end) => ends.push(end));
    },
    handOn: (id) => void handedOn.push(id),
  });
  return { clock, came, handedOn, ends, pauses };
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

it('leaves to the queue what comes up while as many are attended to as may be', async () => {
  const { clock, came, handedOn, ends, pauses } = open();
  for (let nth = 0; nth < 260; nth++) pauses.wait(String(nth), 5000);
  await clock.advance(5000);
  expect([came.length, handedOn.length]).toEqual([250, 10]);
  ends[0]?.();
  pauses.wait('freed', 5000);
  await clock.advance(5000);
  expect(came.at(-1)).toBe('freed');
});

/** Attempts at once to one receiver, and its circuit. */
import { expect, it } from 'vitest';
import { createTurns, type TurnOutcome } from '../../worker/delivery/turns.js';
import { createManualClock } from '../support/clock.js';

const SUCCESS: TurnOutcome = { isSuccess: true, tookMs: 10, restMs: 0 };
const FAILURE: TurnOutcome = { isSuccess: false, tookMs: 10, restMs: 0 };

function open(perReceiver = 2) {
  const clock = createManualClock();
  return { clock, turns: createTurns(clock, perReceiver) };
}

function failed(times: number, outcome = FAILURE) {
  const { clock, turns } = open();
  for (let i = 0; i < times; i++) {
    turns.take('a');
    turns.end('a', outcome);
  }
  return { clock, turns };
}

it('lets so many at once to a receiver, the others whatever it does', () => {
  const { turns } = open(2);
  expect([turns.take('a'), turns.take('a'), turns.take('b')]).toEqual([null, null, null]);
  expect(turns.take('a')).toBeGreaterThan(0);
  turns.end('a', SUCCESS);
  expect(turns.take('a')).toBeNull();
});

it('asks to come back when it is their turn, as fast as the receiver has answered lately', () => {
  const { turns } = open(1);
  const comeBack = (count: number) => Array.from({ length: count }, () => turns.take('a') ?? 0);
  turns.take('a');
  expect(comeBack(3)).toEqual([100, 200, 300]);
  for (let i = 0; i < 50; i++) {
    turns.end('a', { ...SUCCESS, tookMs: 500 });
    turns.take('a');
  }
  const [next = 0, last = 0] = comeBack(2);
  expect(last - next).toBeCloseTo(500, 0);
});

it('has a long line come back within 15 s, and a very long one a hundred a second', () => {
  const { turns } = failed(50, { ...FAILURE, tookMs: 15_000 });
  const waits = Array.from({ length: 20_000 }, () => turns.take('a') ?? 0);
  expect(waits[1000]).toBe(15_000);
  expect(waits.at(-1)).toBeGreaterThan(199_000);
  expect(waits.at(-1)).toBeLessThan(201_000);
});

it('opens after five failures in a row: one at a time, after a rest of as long as it took', async () => {
  expect(failed(4).turns.open()).toBe(0);
  const { clock, turns } = failed(5);
  expect(turns.open()).toBe(1);
  expect(turns.take('a')).toBeGreaterThan(10);
  expect(turns.take('b')).toBeNull();
  await clock.advance(9);
  expect(turns.take('a')).toBeGreaterThan(0);
  await clock.advance(1);
  expect(turns.take('a')).toBeNull();
  expect(turns.take('a')).toBeGreaterThan(0);
});

it('rests in proportion: a receiver that hangs takes half a turn', async () => {
  const { clock, turns } = failed(5, { ...FAILURE, tookMs: 15_000 });
  expect(turns.take('a')).toBeGreaterThanOrEqual(15_000);
  await clock.advance(15_000);
  expect(turns.take('a')).toBeNull();
});

it('closes after one success', async () => {
  const { clock, turns } = failed(9);
  await clock.advance(10);
  turns.take('a');
  turns.end('a', SUCCESS);
  expect(turns.open()).toBe(0);
  expect([turns.take('a'), turns.take('a')]).toEqual([null, null]);
});

it('leaves a receiver alone for as long as it asked, also when its circuit is closed', async () => {
  const { clock, turns } = failed(1, { ...FAILURE, restMs: 7000 });
  expect(turns.open()).toBe(0);
  expect(turns.take('a')).toBeGreaterThanOrEqual(7000);
  await clock.advance(7000);
  expect(turns.take('a')).toBeNull();
});

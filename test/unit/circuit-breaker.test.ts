/** Attempts at once to one receiver, its circuit, and the line before it. */
import { expect, it } from 'vitest';
import { createTurns, type TurnOutcome } from '../../worker/delivery/circuit-breaker.js';
import { createLines } from '../../worker/delivery/receiver-queue.js';
import { createManualClock } from '../support/clock.js';

const LONGEST_REST_MS = 1000;
const SUCCESS: TurnOutcome = { isSuccess: true, tookMs: 10, restMs: 0 };
const FAILURE: TurnOutcome = { isSuccess: false, tookMs: 10, restMs: 0 };

function open(perReceiver = 2) {
  const clock = createManualClock();
  const turns = createTurns(clock, { perReceiver, longestRestMs: LONGEST_REST_MS });
  const gone: string[] = [];
  const lines = createLines(turns, clock, (id) => {
    if (turns.take('a')) gone.push(id);
  });
  const end = (outcome: TurnOutcome) => {
    turns.end('a', outcome);
    lines.advance('a');
  };
  return { clock, turns, lines, gone, end };
}

function failed(times: number, outcome = FAILURE) {
  const opened = open();
  for (let i = 0; i < times; i++) {
    opened.turns.take('a');
    opened.turns.end('a', outcome);
  }
  return opened;
}

it('lets so many at once to a receiver, the others whatever it does', () => {
  const { turns } = open(2);
  expect([turns.take('a'), turns.take('a'), turns.take('b')]).toEqual([true, true, true]);
  expect(turns.take('a')).toBe(false);
  turns.end('a', SUCCESS);
  expect(turns.take('a')).toBe(true);
});

it('opens after five failures in a row: one at a time, after a rest that grows to the longest', async () => {
  expect(failed(4).turns.open()).toBe(0);
  const { clock, turns } = failed(5);
  expect(turns.open()).toBe(1);
  expect(turns.take('a')).toBe(false);
  expect(turns.take('b')).toBe(true);
  for (const restMs of [125, 250, 500, 1000, 1000]) {
    await clock.advance(restMs - 1);
    expect(turns.take('a')).toBe(false);
    await clock.advance(1);
    expect([turns.take('a'), turns.take('a')]).toEqual([true, false]);
    turns.end('a', FAILURE);
  }
});

it('counts nobody who had a turn and did not go', async () => {
  const { clock, turns } = failed(5);
  await clock.advance(125);
  turns.take('a');
  turns.end('a', null);
  expect([turns.open(), turns.restMs('a'), turns.take('a')]).toEqual([1, 0, true]);
});

it('rests in proportion: a receiver that hangs takes half a turn', () => {
  expect(failed(5, { ...FAILURE, tookMs: 15_000 }).turns.restMs('a')).toBe(15_000);
});

it('closes after one success', async () => {
  const { clock, turns } = failed(9);
  await clock.advance(LONGEST_REST_MS);
  turns.take('a');
  turns.end('a', SUCCESS);
  expect(turns.open()).toBe(0);
  expect([turns.take('a'), turns.take('a')]).toEqual([true, true]);
});

it('leaves a receiver alone for as long as it asked, also when its circuit is closed', async () => {
  const { clock, turns } = failed(1, { ...FAILURE, restMs: 7000 });
  expect([turns.open(), turns.take('a'), turns.restMs('a')]).toEqual([0, false, 7000]);
  await clock.advance(7000);
  expect(turns.take('a')).toBe(true);
});

it('is not asked sooner because another attempt failed otherwise', () => {
  const { turns } = open();
  for (let i = 0; i < 2; i++) turns.take('a');
  turns.end('a', { ...FAILURE, restMs: 60_000 });
  turns.end('a', FAILURE);
  expect(turns.restMs('a')).toBe(60_000);
});

it('has those in line go in their order, one for each that ends, each once', () => {
  const { turns, lines, gone, end } = open(1);
  turns.take('a');
  for (const id of ['1', '2', '3', '2']) expect(lines.wait('a', id)).toBe(true);
  expect(lines.length).toBe(3);
  end(SUCCESS);
  expect(gone).toEqual(['1']);
  end(SUCCESS);
  end(SUCCESS);
  end(SUCCESS);
  expect([gone, lines.length]).toEqual([['1', '2', '3'], 0]);
});

it('has the line wait while its receiver rests, and all go that can once it answers', async () => {
  const { clock, turns, lines, gone, end } = failed(5, { ...FAILURE, tookMs: 15_000 });
  for (const id of ['1', '2', '3']) lines.wait('a', id);
  await clock.advance(14_999);
  expect(gone).toEqual([]);
  await clock.advance(1);
  expect(gone).toEqual(['1']);
  end(SUCCESS);
  expect(gone).toEqual(['1', '2', '3']);
  expect(turns.free('a')).toBe(0);
});

it('tells who waited when it is closed, and takes no more', () => {
  const { turns, lines, gone, end } = open(1);
  turns.take('a');
  lines.wait('a', '1');
  expect(lines.close()).toEqual(['1']);
  end(SUCCESS);
  expect([gone, lines.wait('a', '2')]).toEqual([[], false]);
});

/** The circuit breaker: attempts at once to one receiver, and the rest of a receiver that fails. */
import { expect, it } from 'vitest';
import { type AttemptFeedback, createCircuitBreaker } from '../../worker/delivery/circuit-breaker.js';
import { createManualClock } from '../support/manual-clock.js';

const LONGEST_REST_MS = 1000;
const SUCCESS: AttemptFeedback = { isSuccess: true, tookMs: 10, restMs: 0 };
const FAILURE: AttemptFeedback = { isSuccess: false, tookMs: 10, restMs: 0 };

function open() {
  const clock = createManualClock();
  const breaker = createCircuitBreaker(clock, { slotsPerReceiver: 2, longestRestMs: LONGEST_REST_MS });
  return { clock, breaker };
}

function failed(times: number, feedback = FAILURE) {
  const opened = open();
  for (let i = 0; i < times; i++) {
    opened.breaker.tryAcquire('a');
    opened.breaker.release('a', feedback);
  }
  return opened;
}

it('gives each receiver its slots, whatever the others do', () => {
  const { breaker } = open();
  expect([breaker.tryAcquire('a'), breaker.tryAcquire('a'), breaker.tryAcquire('b')]).toEqual([
    true,
    true,
    true,
  ]);
  expect(breaker.tryAcquire('a')).toBe(false);
  breaker.release('a', SUCCESS);
  expect(breaker.tryAcquire('a')).toBe(true);
});

it('opens after five failures in a row: one attempt at a time, after a rest that grows to the longest', async () => {
  expect(failed(4).breaker.openCircuits()).toBe(0);
  const { clock, breaker } = failed(5);
  expect(breaker.openCircuits()).toBe(1);
  expect(breaker.tryAcquire('a')).toBe(false);
  expect(breaker.tryAcquire('b')).toBe(true);
  for (const restMs of [125, 250, 500, 1000, 1000]) {
    await clock.advance(restMs - 1);
    expect(breaker.tryAcquire('a')).toBe(false);
    await clock.advance(1);
    expect([breaker.tryAcquire('a'), breaker.tryAcquire('a')]).toEqual([true, false]);
    breaker.release('a', FAILURE);
  }
});

it('counts no failure when a slot was released without an attempt', async () => {
  const { clock, breaker } = failed(5);
  await clock.advance(125);
  breaker.tryAcquire('a');
  breaker.release('a', null);
  expect([breaker.openCircuits(), breaker.restMs('a'), breaker.tryAcquire('a')]).toEqual([1, 0, true]);
});

it('rests for as long as the attempt took: a receiver that hangs keeps a slot busy half of the time', () => {
  expect(failed(5, { ...FAILURE, tookMs: 15_000 }).breaker.restMs('a')).toBe(15_000);
});

it('closes after one success', async () => {
  const { clock, breaker } = failed(9);
  await clock.advance(LONGEST_REST_MS);
  breaker.tryAcquire('a');
  breaker.release('a', SUCCESS);
  expect(breaker.openCircuits()).toBe(0);
  expect([breaker.tryAcquire('a'), breaker.tryAcquire('a')]).toEqual([true, true]);
});

it('leaves a receiver alone for as long as it asked, also when its circuit is closed', async () => {
  const { clock, breaker } = failed(1, { ...FAILURE, restMs: 7000 });
  expect([breaker.openCircuits(), breaker.tryAcquire('a'), breaker.restMs('a')]).toEqual([0, false, 7000]);
  await clock.advance(7000);
  expect(breaker.tryAcquire('a')).toBe(true);
});

it('keeps the rest that the receiver asked for when another attempt fails', () => {
  const { breaker } = open();
  for (let i = 0; i < 2; i++) breaker.tryAcquire('a');
  breaker.release('a', { ...FAILURE, restMs: 60_000 });
  breaker.release('a', FAILURE);
  expect(breaker.restMs('a')).toBe(60_000);
});

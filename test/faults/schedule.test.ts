/** The schedule of faults. */
import { expect, it } from 'vitest';
import { scheduleOf } from './schedule.js';

const HOUR_MS = 3_600_000;

it('is the same for the same seed, another for another', () => {
  expect(scheduleOf(7, HOUR_MS)).toEqual(scheduleOf(7, HOUR_MS));
  expect(scheduleOf(8, HOUR_MS)).not.toEqual(scheduleOf(7, HOUR_MS));
  expect(scheduleOf(7, HOUR_MS / 2), 'a shorter run is the start of a longer one').toEqual(
    scheduleOf(7, HOUR_MS).filter(({ atMs }) => atMs < HOUR_MS / 2),
  );
});

it('makes every kind of fault, and never two at once to one target', () => {
  const faults = scheduleOf(1, HOUR_MS);
  expect(new Set(faults.map(({ kind }) => kind)).size).toBe(12);
  for (const [nth, { target, atMs }] of faults.entries()) {
    const others = faults.slice(0, nth).filter((other) => other.target === target);
    expect(others.every((other) => other.atMs + other.lastsMs < atMs)).toBe(true);
  }
});

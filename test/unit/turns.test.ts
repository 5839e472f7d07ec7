/** Attempts at once to one origin. */
import { expect, it } from 'vitest';
import { createTurns } from '../../worker/delivery/turns.js';

it('lets so many at once to an origin, the others whatever it does', () => {
  const turns = createTurns(2);
  expect([turns.take('a'), turns.take('a'), turns.take('b')]).toEqual([null, null, null]);
  expect(turns.take('a')).toBeGreaterThan(0);
  turns.end('a');
  expect(turns.take('a')).toBeNull();
});

it('asks to come back later the more are turned away, at most after an attempt, and soon once one ended', () => {
  const turns = createTurns(1);
  turns.take('a');
  const waits = Array.from({ length: 1000 }, () => turns.take('a') ?? 0);
  expect(waits.slice(0, 3)).toEqual([100, 200, 300]);
  expect(Math.max(...waits)).toBe(15_000);
  turns.end('a');
  turns.take('a');
  expect(turns.take('a')).toBe(100);
});

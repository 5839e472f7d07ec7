/**
 * How often an execution tells how far it is.
 */
import { expect, it } from 'vitest';
import { PERIOD_MS, startProgress } from '../../worker/inference/consumer/progress.js';
import { createManualClock } from '../support/manual-clock.js';

function meter() {
  const clock = createManualClock();
  const told: number[] = [];
  const errors: Error[] = [];
  let answer = () => Promise.resolve();
  const progress = startProgress({
    clock,
    total: 100,
    report: ({ done }) => {
      told.push(done);
      return answer();
    },
    onError: (error) => errors.push(error),
  });
  return { clock, told, errors, progress, answerWith: (next: typeof answer) => (answer = next) };
}

it('tells at once, then at most once in a period, the newest', async () => {
  const { clock, told, progress } = meter();
  expect(told).toEqual([0]);
  for (let i = 0; i < 40; i++) {
    progress.add(1);
    await clock.advance(PERIOD_MS / 4);
  }
  expect(told.length).toBeLessThanOrEqual(1 + 10);
  await clock.advance(PERIOD_MS);
  expect(told.at(-1)).toBe(40);
  await clock.advance(10 * PERIOD_MS);
  expect(told.filter((done) => done === 40)).toHaveLength(1);
  progress.add(1);
  expect(told.at(-1)).toBe(41);
});

it('does not tell the last instance, nor anything after it was stopped', async () => {
  const { clock, told, progress } = meter();
  progress.add(50);
  progress.stop();
  progress.add(10);
  await clock.advance(10 * PERIOD_MS);
  expect(told).toEqual([0]);
  const other = meter();
  await other.clock.advance(PERIOD_MS);
  other.progress.add(100);
  await other.clock.advance(PERIOD_MS);
  expect(other.told).toEqual([0]);
});

it('waits for an answer before it tells again, and goes on after one that failed', async () => {
  const { clock, told, errors, progress, answerWith } = meter();
  await clock.advance(PERIOD_MS);
  let fail: (error: Error) => void = () => undefined;
  answerWith(
    () =>
      new Promise((_, reject) => {
        fail = reject;
      }),
  );
  progress.add(1);
  progress.add(1);
  await clock.advance(10 * PERIOD_MS);
  expect(told).toEqual([0, 1]);
  answerWith(() => Promise.resolve());
  fail(new Error('away'));
  await clock.advance(2 * PERIOD_MS);
  expect(errors).toHaveLength(1);
  expect(told).toEqual([0, 1, 2]);
});

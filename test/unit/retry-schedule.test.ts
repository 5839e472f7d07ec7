import { describe, expect, test } from 'vitest';
import {
  type Judged,
  judge,
  parseRetryAfter,
  restAsked,
  SCHEDULE,
  type Schedule,
} from '../../worker/delivery/retry-schedule.js';

const NOW = Date.UTC(2025, 0, 1);
/** No jitter. */
const schedule: Schedule = { ...SCHEDULE, random: () => 0.5 };
const FIRST: Judged = { type: 'job.succeeded', attempts: 0, once: null };
const verdictOf = (status: number | null, delivery: Partial<Judged> = {}, retryAfter: string | null = null) =>
  judge({ status, retryAfter }, { ...FIRST, ...delivery }, NOW, schedule);

describe('judge', () => {
  test.each([200, 201, 202, 204, 299])('%i delivers', (status) => {
    expect(verdictOf(status)).toEqual({ status: 'delivered' });
  });

  test.each([null, 100, 301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 503])(
    '%s is tried again',
    (status) => {
      expect(verdictOf(status)).toEqual({ status: 'pending', delayMs: 5000 });
    },
  );

  test('410 ends the delivery', () => {
    expect(verdictOf(410)).toEqual({ status: 'failed' });
  });

  test('ten attempts span 75.6 hours, and no eleventh follows', () => {
    let totalMs = 0;
    for (let attempts = 0; attempts < 9; attempts++) {
      const verdict = verdictOf(500, { attempts });
      if (verdict.status !== 'pending') throw new Error(`ended after ${attempts + 1}`);
      totalMs += verdict.delayMs;
    }
    expect((totalMs / 3_600_000).toFixed(1)).toBe('75.6');
    expect(verdictOf(500, { attempts: 9 })).toEqual({ status: 'failed' });
  });

  test('a replay and a test are one attempt', () => {
    expect(verdictOf(500, { once: 'failed' })).toEqual({ status: 'failed' });
    expect(verdictOf(200, { once: 'failed' })).toEqual({ status: 'delivered' });
  });

  test('how a job is getting on is tried three times', () => {
    const tries = [0, 1, 2].map((attempts) => verdictOf(500, { type: 'job.progress', attempts }).status);
    expect(tries).toEqual(['pending', 'pending', 'failed']);
  });

  test('pauses vary by a tenth', () => {
    const pause = (random: number) =>
      judge({ status: 500, retryAfter: null }, FIRST, NOW, { ...schedule, random: () => random });
    expect(pause(0)).toEqual({ status: 'pending', delayMs: 4500 });
    expect(pause(1)).toEqual({ status: 'pending', delayMs: 5500 });
  });

  test.each([
    [429, '7', 7000],
    [503, '7', 7000],
    [429, '1', 5000],
    [429, '86400', 10_000],
    [503, new Date(NOW + 8000).toUTCString(), 8000],
    [429, 'soon', 5000],
    [429, '-5', 5000],
    [500, '7', 7000],
    [502, '7', 7000],
    [404, '7', 5000],
    [null, '7', 5000],
  ])('%i with Retry-After %s pauses between once and twice the schedule', (status, retryAfter, delayMs) => {
    expect(verdictOf(status, {}, retryAfter)).toEqual({ status: 'pending', delayMs });
  });
});

test.each([
  ['0', 0],
  ['120', 120_000],
  [new Date(NOW - 1000).toUTCString(), -1000],
  ['1.5', null],
  ['', null],
  ['99999999999', null],
])('Retry-After %j is %s', (text, expected) => {
  expect(parseRetryAfter(text, NOW)).toBe(expected);
});

test.each([
  [429, '7', 7000],
  [503, '7', 7000],
  [429, '3600', 60_000],
  [429, null, 0],
  [404, '7', 0],
  [500, '-5', 0],
])('%i with Retry-After %s asks to be left alone for %i ms', (status, retryAfter, restMs) => {
  expect(restAsked({ status, retryAfter }, NOW)).toBe(restMs);
});

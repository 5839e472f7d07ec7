import { describe, expect, test } from 'vitest';
import { judge, parseRetryAfter, RETRY_DELAYS_MS, type Schedule } from '../../worker/delivery/schedule.js';

const NOW = Date.UTC(2025, 0, 1);
/** No jitter. */
const schedule: Schedule = { delaysMs: RETRY_DELAYS_MS, random: () => 0.5 };
const verdictOf = (status: number | null, attempts = 1, retryAfter: string | null = null) =>
  judge({ status, retryAfter }, attempts, NOW, schedule);

describe('judge', () => {
  test.each([200, 201, 202, 204, 299])('%i delivers', (status) => {
    expect(verdictOf(status)).toEqual({ state: 'delivered' });
  });

  test.each([null, 100, 301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 503])(
    '%s is tried again',
    (status) => {
      expect(verdictOf(status)).toEqual({ state: 'pending', delayMs: 5000 });
    },
  );

  test('410 ends the delivery', () => {
    expect(verdictOf(410)).toEqual({ state: 'failed' });
  });

  test('ten attempts span 75.6 hours, and no eleventh follows', () => {
    let totalMs = 0;
    for (let attempts = 1; attempts <= 9; attempts++) {
      const verdict = verdictOf(500, attempts);
      if (verdict.state !== 'pending') throw new Error(`ended after ${attempts}`);
      totalMs += verdict.delayMs;
    }
    expect((totalMs / 3_600_000).toFixed(1)).toBe('75.6');
    expect(verdictOf(500, 10)).toEqual({ state: 'failed' });
  });

  test('pauses vary by a tenth', () => {
    const pause = (random: number) =>
      judge({ status: 500, retryAfter: null }, 1, NOW, { ...schedule, random: () => random });
    expect(pause(0)).toEqual({ state: 'pending', delayMs: 4500 });
    expect(pause(1)).toEqual({ state: 'pending', delayMs: 5500 });
  });

  test.each([
    [429, '7', 7000],
    [503, '7', 7000],
    [429, '1', 5000],
    [429, '86400', 10_000],
    [503, new Date(NOW + 8000).toUTCString(), 8000],
    [429, 'soon', 5000],
    [429, '-5', 5000],
    [500, '7', 5000],
  ])('%i with Retry-After %s pauses between once and twice the schedule', (status, retryAfter, delayMs) => {
    expect(verdictOf(status, 1, retryAfter)).toEqual({ state: 'pending', delayMs });
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

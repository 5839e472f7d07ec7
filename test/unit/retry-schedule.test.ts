import { describe, expect, test } from 'vitest';
import {
  type AttemptedDelivery,
  nextStep,
  parseRetryAfter,
  RETRY_SCHEDULE,
  type RetrySchedule,
  requestedRestMs,
} from '../../worker/delivery/retry-schedule.js';

const NOW = Date.UTC(2025, 0, 1);
/** The real schedule without jitter. */
const schedule: RetrySchedule = { ...RETRY_SCHEDULE, random: () => 0.5 };
const FIRST: AttemptedDelivery = { type: 'job.succeeded', attempts: 0, once: null };
const stepAfter = (
  status: number | null,
  delivery: Partial<AttemptedDelivery> = {},
  retryAfter: string | null = null,
) => nextStep({ status, retryAfter }, { ...FIRST, ...delivery }, NOW, schedule);

describe('the next step', () => {
  test.each([200, 201, 202, 204, 299])('%i delivers', (status) => {
    expect(stepAfter(status)).toEqual({ status: 'delivered' });
  });

  test.each([null, 100, 301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 503])(
    '%s is attempted again',
    (status) => {
      expect(stepAfter(status)).toEqual({ status: 'pending', delayMs: 5000 });
    },
  );

  test('410 ends the delivery', () => {
    expect(stepAfter(410)).toEqual({ status: 'failed' });
  });

  test('ten attempts span 75.6 hours, and no eleventh follows', () => {
    let totalMs = 0;
    for (let attempts = 0; attempts < 9; attempts++) {
      const step = stepAfter(500, { attempts });
      if (step.status !== 'pending') throw new Error(`ended after ${attempts + 1}`);
      totalMs += step.delayMs;
    }
    expect((totalMs / 3_600_000).toFixed(1)).toBe('75.6');
    expect(stepAfter(500, { attempts: 9 })).toEqual({ status: 'failed' });
  });

  test('a replay and a test event are attempted once', () => {
    expect(stepAfter(500, { once: 'failed' })).toEqual({ status: 'failed' });
    expect(stepAfter(200, { once: 'failed' })).toEqual({ status: 'delivered' });
  });

  test('progress of a job is attempted three times', () => {
    const tries = [0, 1, 2].map((attempts) => stepAfter(500, { type: 'job.progress', attempts }).status);
    expect(tries).toEqual(['pending', 'pending', 'failed']);
  });

  test('delays vary by a tenth', () => {
    const delay = (random: number) =>
      nextStep({ status: 500, retryAfter: null }, FIRST, NOW, { ...schedule, random: () => random });
    expect(delay(0)).toEqual({ status: 'pending', delayMs: 4500 });
    expect(delay(1)).toEqual({ status: 'pending', delayMs: 5500 });
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
  ])('%i with Retry-After %s delays between once and twice the schedule', (status, retryAfter, delayMs) => {
    expect(stepAfter(status, {}, retryAfter)).toEqual({ status: 'pending', delayMs });
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
  expect(requestedRestMs({ status, retryAfter }, NOW)).toBe(restMs);
});

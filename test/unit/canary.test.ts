/** When a canary has to go: by what ended, beside what ended of the other version. */
import { describe, expect, it } from 'vitest';
import { beginCanary } from '../../shared/contract/models/canary.js';
import {
  sizeClassOf,
  testCanary,
  timeBucketOf,
  type VersionOutcomes,
} from '../../shared/contract/models/canary-test.js';

const canary = beginCanary({ version: 2, percent: 5 }, '2026-01-01T00:00:00.000Z');

/** `ms` of each job in turn, in batches of `size`. */
function outcomes(
  succeeded: number,
  failed: number,
  ms: readonly number[] = [10],
  size = 1,
): VersionOutcomes {
  const times = new Map<number, number>();
  for (let i = 0; i < succeeded + failed; i++) {
    const bucket = timeBucketOf(ms[i % ms.length] ?? 0);
    times.set(bucket, (times.get(bucket) ?? 0) + 1);
  }
  return { succeeded, failed, times: new Map([[sizeClassOf(size), times]]) };
}

/** Returns the counts of 200 jobs in batches of `cost(size)` ms, as many of each size. */
function outcomesOf(sizes: readonly number[], cost: (size: number) => number): VersionOutcomes {
  const times = sizes.map((size) => [sizeClassOf(size), new Map([[timeBucketOf(cost(size)), 200]])] as const);
  return { succeeded: 200 * sizes.length, failed: 0, times: new Map(times) };
}

const cost = (size: number) => 5 + size;
const threeTimes = (size: number) => 3 * cost(size);

describe('a canary', () => {
  it.each<[string, VersionOutcomes, VersionOutcomes, RegExp | null]>([
    ['too few jobs to judge', outcomes(0, 49), outcomes(1000, 0), null],
    [
      'all of enough jobs failed',
      outcomes(0, 50),
      outcomes(1000, 0),
      /^100 % of its 50 jobs failed, at most 5 % may$/,
    ],
    ['as many failures as are allowed', outcomes(95, 5), outcomes(1000, 0), null],
    ['one more', outcomes(94, 6), outcomes(1000, 0), /^6 % of its 100 jobs failed/],
    ['failures that the other version has, too', outcomes(70, 30), outcomes(740, 260), null],
    ['more of them than the other version', outcomes(68, 32), outcomes(740, 260), /at most 31 % may$/],
    ['failures while nothing is known of the other', outcomes(40, 10), outcomes(0, 0), /^20 % of its 50/],
    ['twice the time, as is allowed', outcomes(50, 0, [20]), outcomes(1000, 0, [10]), null],
    [
      'three times the time',
      outcomes(50, 0, [30]),
      outcomes(1000, 0, [10]),
      /computed up to 2\.83 times as long as those of the other version in batches of their size$/,
    ],
    [
      'a slow job in a hundred',
      outcomes(100, 0, [...Array(99).fill(10), 9000]),
      outcomes(1000, 0, [10]),
      null,
    ],
    [
      'a slow job in ten',
      outcomes(100, 0, [...Array(9).fill(10), 9000]),
      outcomes(1000, 0, [10]),
      /computed up to/,
    ],
    ['slow jobs, and too few of the other', outcomes(50, 0, [9000]), outcomes(49, 0, [10]), null],
    ['the same cost in smaller batches', outcomesOf([1, 2], cost), outcomesOf([32], cost), null],
    ['the same cost in larger batches', outcomesOf([32], cost), outcomesOf([1, 4], cost), null],
    [
      'three times the cost in batches that are a little smaller',
      outcomesOf([8, 16], threeTimes),
      outcomesOf([16, 32], cost),
      /computed up to 2\.83 times/,
    ],
    [
      'less time in small batches than the other in large ones, for three times the cost, where the other has small ones, too',
      outcomesOf([1, 2], threeTimes),
      outcomesOf([2, 64], cost),
      /computed up to 2\.83 times/,
    ],
  ])('with %s', (_, own, stable, reason) => {
    const fault = testCanary(canary, own, stable);
    if (reason === null) expect(fault).toBeNull();
    else expect(fault).toMatch(reason);
  });

  it('knows times to 19 %', () => {
    for (const ms of [0, 0.3, 1, 1.5, 10, 333, 90_000]) {
      const edge = 2 ** (timeBucketOf(ms) / 4);
      expect(edge).toBeGreaterThanOrEqual(ms);
      expect(edge).toBeLessThanOrEqual(Math.max(1, ms * 2 ** 0.25));
    }
  });
});

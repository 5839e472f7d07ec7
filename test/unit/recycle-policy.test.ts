import { describe, expect, it } from 'vitest';
import { createWear, LEAST_BATCHES } from '../../worker/process/recycle-policy.js';

/** What each of so many batches said, without repeats. */
function reasons(wear: ReturnType<typeof createWear>, batches: number, rssBytes: number) {
  return [...new Set(Array.from({ length: batches }, () => wear.reasonAfter(rssBytes)))];
}

describe('wear', () => {
  it('is none without limits', () => {
    expect(reasons(createWear({ maxBatches: 0, maxRssBytes: 0 }), 1000, 1e12)).toEqual([null]);
  });

  it('comes after so many batches, counted anew for each child', () => {
    const wear = createWear({ maxBatches: 3, maxRssBytes: 0 });
    for (let child = 0; child < 2; child++) {
      expect(reasons(wear, 2, 1e12)).toEqual([null]);
      expect(wear.reasonAfter(0)).toBe('3 batches');
      wear.renew();
    }
  });

  it('comes above so much memory, but not over and over', () => {
    const wear = createWear({ maxBatches: 0, maxRssBytes: 1000 });
    expect(reasons(wear, LEAST_BATCHES - 1, 1001)).toEqual([null]);
    expect(wear.reasonAfter(1000)).toBeNull();
    expect(wear.reasonAfter(1001)).toBe(`1001 bytes after ${LEAST_BATCHES + 1} batches`);
    wear.renew();
    expect(wear.reasonAfter(1001)).toBeNull();
  });
});

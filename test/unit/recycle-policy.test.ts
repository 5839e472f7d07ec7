import { describe, expect, it } from 'vitest';
import { createRecyclePolicy, LEAST_BATCHES } from '../../worker/process/recycle-policy.js';

/** Returns what each of so many batches said, without repeats. */
function reasons(policy: ReturnType<typeof createRecyclePolicy>, batches: number, rssBytes: number) {
  return [...new Set(Array.from({ length: batches }, () => policy.reasonAfter(rssBytes)))];
}

describe('recycling a child', () => {
  it('is none without limits', () => {
    expect(reasons(createRecyclePolicy({ maxBatches: 0, maxRssBytes: 0 }), 1000, 1e12)).toEqual([null]);
  });

  it('comes after so many batches, counted anew for each child', () => {
    const policy = createRecyclePolicy({ maxBatches: 3, maxRssBytes: 0 });
    for (let child = 0; child < 2; child++) {
      expect(reasons(policy, 2, 1e12)).toEqual([null]);
      expect(policy.reasonAfter(0)).toBe('3 batches');
      policy.reset();
    }
  });

  it('comes above so much memory, but not over and over', () => {
    const policy = createRecyclePolicy({ maxBatches: 0, maxRssBytes: 1000 });
    expect(reasons(policy, LEAST_BATCHES - 1, 1001)).toEqual([null]);
    expect(policy.reasonAfter(1000)).toBeNull();
    expect(policy.reasonAfter(1001)).toBe(`1001 bytes after ${LEAST_BATCHES + 1} batches`);
    policy.reset();
    expect(policy.reasonAfter(1001)).toBeNull();
  });
});

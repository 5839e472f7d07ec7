/**
 * Recycle policy: when a child has served its time and another takes its place.
 *
 * Native code leaks in places that nobody sees. A child that is replaced in good order costs the time of a start; one that
 * the kernel kills for its memory costs a batch.
 */
export interface RecycleLimits {
  /** The child is replaced after so many batches; 0 means never. */
  maxBatches: number;
  /** The child is replaced above so many bytes of resident memory; 0 means never. */
  maxRssBytes: number;
}

export interface RecyclePolicy {
  /** Returns why the child is to be replaced after this batch; null when it is not. */
  reasonAfter(rssBytes: number): string | null;
  /** A new child begins. */
  reset(): void;
}

/** A child that is above its memory limit as soon as it has loaded its versions still computes so many batches. */
export const LEAST_BATCHES = 100;

/** Returns the policy for one child after another; it counts their batches. */
export function createRecyclePolicy({ maxBatches, maxRssBytes }: RecycleLimits): RecyclePolicy {
  let batches = 0;

  return {
    reasonAfter(rssBytes) {
      batches++;
      if (maxBatches > 0 && batches >= maxBatches) return `${batches} batches`;
      const isTooLarge = maxRssBytes > 0 && rssBytes > maxRssBytes;
      return isTooLarge && batches >= LEAST_BATCHES ? `${rssBytes} bytes after ${batches} batches` : null;
    },
    reset() {
      batches = 0;
    },
  };
}

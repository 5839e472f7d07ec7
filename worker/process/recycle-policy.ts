/**
 * Wear: when a child has served its time. Native code leaks in places that nobody sees; a child that is replaced in good
 * order costs the time of a start, one that is killed for its memory costs a batch.
 */
export interface RecycleLimits {
  /** Batches after which a child is replaced; 0: none. */
  maxBatches: number;
  /** Resident memory in bytes above which it is; 0: none. */
  maxRssBytes: number;
}

/** A child that is above its ceiling as soon as it has loaded does so much between two starts all the same. */
export const LEAST_BATCHES = 100;

export function createWear({ maxBatches, maxRssBytes }: RecycleLimits) {
  let batches = 0;

  return {
    /** Asked after each batch: why the child is to be replaced, null when it is not. */
    reasonAfter(rssBytes: number): string | null {
      batches++;
      if (maxBatches > 0 && batches >= maxBatches) return `${batches} batches`;
      const isTooLarge = maxRssBytes > 0 && rssBytes > maxRssBytes;
      return isTooLarge && batches >= LEAST_BATCHES ? `${rssBytes} bytes after ${batches} batches` : null;
    },
    /** The child is a new one. */
    renew(): void {
      batches = 0;
    },
  };
}

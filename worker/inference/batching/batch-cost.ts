/**
 * Batch cost: how long a batch takes by its size, learnt from the batches that ran.
 *
 * The cost is taken as fixed + each × size. Both are fitted by weighted least squares; old batches count for less, so that a
 * backend that becomes slower is followed.
 */
export interface BatchCost {
  /** How many batches have been observed. */
  readonly batches: number;
  /** The size of about all batches that count; null when their sizes differ. */
  readonly onlySize: number | null;
  observe(size: number, ms: number): void;
  /** Returns the milliseconds that 99 of 100 batches of this size do not exceed, if they are distributed normally. */
  p99Of(size: number): number;
}

/** Each new batch leaves so much of the weight of the older ones. */
const KEEP = 0.98;
/** Below this spread of sizes, in proportion to their mean square, they do not tell how the cost grows with the size. */
const LEAST_SPREAD = 1e-3;
/** 99 % of a normal distribution lie below so many standard deviations above the mean. */
const SIGMAS = 2.33;

/** Returns the cost of batches, of which nothing is known yet. */
export function createBatchCost(): BatchCost {
  let batches = 0;
  // The sums of the weights, sizes (x) and milliseconds (y), and of their products.
  let [w, x, y, xx, xy, yy] = [0, 0, 0, 0, 0, 0];

  const spread = () => w * xx - x * x;
  const isOneSize = () => spread() < LEAST_SPREAD * w * xx;

  function coefficients(): { fixed: number; each: number } {
    // With one size, each instance is taken to cost its share, which is too much for larger batches and not too little.
    if (isOneSize()) return { fixed: 0, each: y / x };
    const each = Math.max(0, (w * xy - x * y) / spread());
    return { fixed: Math.max(0, (y - each * x) / w), each };
  }

  return {
    get batches() {
      return batches;
    },
    get onlySize() {
      return isOneSize() ? Math.round(x / w) : null;
    },
    observe(size, ms) {
      batches++;
      w = w * KEEP + 1;
      x = x * KEEP + size;
      y = y * KEEP + ms;
      xx = xx * KEEP + size * size;
      xy = xy * KEEP + size * ms;
      yy = yy * KEEP + ms * ms;
    },
    p99Of(size) {
      const { fixed, each } = coefficients();
      const squares =
        yy - 2 * fixed * y - 2 * each * xy + fixed * fixed * w + 2 * fixed * each * x + each * each * xx;
      return fixed + each * size + SIGMAS * Math.sqrt(Math.max(0, squares) / w);
    },
  };
}

/**
 * The batch policy of a version as it stands: what its manifest says, tightened by what was measured.
 *
 * `targetP99Ms`: of a task that the batcher is given, from then to its result. Before it is computed it waits for its batch to
 * form (the delay) and for the batches before it (`maxInFlight`); then it computes. So the largest size is sought for
 * which (1 + maxInFlight) × cost(size) is within the target, and the delay is what is left of it. The cost of a batch is taken as
 * fixed + each × size, fitted by least squares over what ran, old batches counting for less, and as 2.33 standard
 * deviations more than that: 99 of 100 batches of a normal distribution. Both stay within the manifest's bounds.
 *
 * While all batches are of one size, as under little load, nothing tells what another would cost: a smaller one is taken to
 * cost its share, and the next larger one is tried as soon as there is work for it, if those that ran are in time.
 *
 * Out of memory: the ceiling is half of what did not fit, for as long as this process lives.
 */

import { filledSize } from '../protocol/padded-shape.js';
import type { BatchPolicy, RanBatch } from './batcher.js';

export interface BatchBounds {
  maxBatchSize: number;
  maxDelayMs: number;
  maxBatchBytes?: number;
  maxInFlight: number;
  /** Of the batches, growing. */
  preferredSizes?: number[];
  targetP99Ms?: number;
}

export interface BatchTuner {
  /** For tasks that are made now. */
  readonly policy: BatchPolicy;
}

/** What a new batch leaves of the weight of older ones. */
const KEEP = 0.98;
/** Batches before anything is concluded. */
const LEAST_BATCHES = 8;
/** Of sizes, in proportion to their mean square, below which they tell nothing of how the cost grows with them. */
const LEAST_SPREAD = 1e-3;
/** 99 % of a normal distribution lie below so many standard deviations above the mean. */
const SIGMAS = 2.33;

export function createBatchTuner(
  bounds: BatchBounds,
  onChange: (policy: BatchPolicy) => void = () => {},
): BatchTuner {
  const cost = createCostModel();
  let ceiling = bounds.maxBatchSize;
  let policy = policyOf(ceiling, bounds.maxDelayMs);
  onChange(policy);

  function policyOf(maxBatchSize: number, maxDelayMs: number): BatchPolicy {
    const { maxBatchBytes, maxInFlight } = bounds;
    return { maxBatchSize, maxDelayMs, maxInFlight, ...(maxBatchBytes && { maxBatchBytes }), onRan: observe };
  }

  function observe({ size, computeMs, outOfMemoryAt }: RanBatch): void {
    if (outOfMemoryAt !== null) ceiling = Math.max(1, Math.min(ceiling, outOfMemoryAt >> 1));
    // What is filled up costs as much as what it is filled up to.
    else cost.observe(filledSize(bounds, size), computeMs);
    const [limit, delayMs] = limits();
    if (limit === policy.maxBatchSize && delayMs === policy.maxDelayMs) return;
    policy = policyOf(limit, delayMs);
    onChange(policy);
  }

  function limits(): [size: number, delayMs: number] {
    const { targetP99Ms, maxDelayMs } = bounds;
    if (targetP99Ms === undefined || cost.batches < LEAST_BATCHES) return [sizeUpTo(ceiling), maxDelayMs];
    const leftOf = (size: number) => targetP99Ms - (bounds.maxInFlight + 1) * cost.of(size);
    let size = 1;
    while (size < ceiling && leftOf(size + 1) >= 0) size++;
    const only = cost.onlySize;
    if (only !== null && size >= only && leftOf(only) >= 0)
      size = Math.max(size, Math.min(ceiling, sizeAbove(only)));
    return [sizeUpTo(size), Math.floor(Math.max(0, Math.min(maxDelayMs, leftOf(size))))];
  }

  function sizeUpTo(most: number): number {
    return bounds.preferredSizes?.findLast((size) => size <= most) ?? most;
  }

  function sizeAbove(size: number): number {
    return bounds.preferredSizes?.find((each) => each > size) ?? size + 1;
  }

  return {
    get policy() {
      return policy;
    },
  };
}

/** Sums of weighted least squares over (size, milliseconds). */
function createCostModel() {
  let batches = 0;
  let [w, x, y, xx, xy, yy] = [0, 0, 0, 0, 0, 0];

  const spread = () => w * xx - x * x;
  const isOneSize = () => spread() < LEAST_SPREAD * w * xx;

  function line(): { fixed: number; each: number } {
    // Then each instance is taken to cost its share, which is too much for larger batches, not too little.
    if (isOneSize()) return { fixed: 0, each: y / x };
    const each = Math.max(0, (w * xy - x * y) / spread());
    return { fixed: Math.max(0, (y - each * x) / w), each };
  }

  return {
    get batches() {
      return batches;
    },
    /** Of all batches that count, about; null when their sizes differ. */
    get onlySize(): number | null {
      return isOneSize() ? Math.round(x / w) : null;
    },
    observe(size: number, ms: number): void {
      batches++;
      w = w * KEEP + 1;
      x = x * KEEP + size;
      y = y * KEEP + ms;
      xx = xx * KEEP + size * size;
      xy = xy * KEEP + size * ms;
      yy = yy * KEEP + ms * ms;
    },
    /** Milliseconds that 99 of 100 batches of this size do not exceed. */
    of(size: number): number {
      const { fixed, each } = line();
      const squares =
        yy - 2 * fixed * y - 2 * each * xy + fixed * fixed * w + 2 * fixed * each * x + each * each * xx;
      return fixed + each * size + SIGMAS * Math.sqrt(Math.max(0, squares) / w);
    },
  };
}

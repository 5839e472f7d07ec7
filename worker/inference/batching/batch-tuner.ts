/**
 * Batch tuner: the batch policy of a version, which is what its manifest says, tightened by what was measured.
 *
 * `targetP99Ms` is the time from when the batcher is given a task until the task's result. A task waits for its batch to form
 * (the delay) and for the batches before it (`maxInFlight`); then it is computed. So the tuner takes the largest size for
 * which (1 + maxInFlight) × cost(size) is within the target, and leaves the rest for the delay. Both stay within the manifest's
 * bounds.
 *
 * While all batches have one size, as under little load, their cost does not tell what another size would cost. The next
 * larger size is then tried as soon as there is work for it, if the batches that ran are in time.
 *
 * After an out-of-memory error the largest size is half of what did not fit, for as long as this process lives.
 */
import { filledSize } from '../protocol/padded-shape.js';
import { createBatchCost } from './batch-cost.js';
import type { BatchPolicy, RanBatch } from './batcher.js';

export interface BatchBounds {
  maxBatchSize: number;
  maxDelayMs: number;
  maxBatchBytes?: number;
  maxInFlight: number;
  /** The sizes to which batches are filled up, growing. */
  preferredSizes?: number[];
  targetP99Ms?: number;
}

export interface BatchTuner {
  /** The policy for tasks that are made now. */
  readonly policy: BatchPolicy;
}

/** Nothing is concluded from fewer batches. */
const LEAST_BATCHES = 8;

/** Returns a tuner for one version; `onChange` hears its policies, the first one at once. */
export function createBatchTuner(
  bounds: BatchBounds,
  onChange: (policy: BatchPolicy) => void = () => {},
): BatchTuner {
  const cost = createBatchCost();
  let ceiling = bounds.maxBatchSize;
  let policy = policyOf(ceiling, bounds.maxDelayMs);
  onChange(policy);

  function policyOf(maxBatchSize: number, maxDelayMs: number): BatchPolicy {
    const { maxBatchBytes, maxInFlight } = bounds;
    return { maxBatchSize, maxDelayMs, maxInFlight, ...(maxBatchBytes && { maxBatchBytes }), onRan: observe };
  }

  function observe({ size, computeMs, outOfMemoryAt }: RanBatch): void {
    if (outOfMemoryAt !== null) ceiling = Math.max(1, Math.min(ceiling, outOfMemoryAt >> 1));
    // A batch that is filled up costs as much as the size to which it is filled up.
    else cost.observe(filledSize(bounds, size), computeMs);
    const [limit, delayMs] = limits();
    if (limit === policy.maxBatchSize && delayMs === policy.maxDelayMs) return;
    policy = policyOf(limit, delayMs);
    onChange(policy);
  }

  function limits(): [size: number, delayMs: number] {
    const { targetP99Ms, maxDelayMs } = bounds;
    if (targetP99Ms === undefined || cost.batches < LEAST_BATCHES) return [sizeUpTo(ceiling), maxDelayMs];
    const leftOf = (size: number) => targetP99Ms - (bounds.maxInFlight + 1) * cost.p99Of(size);
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

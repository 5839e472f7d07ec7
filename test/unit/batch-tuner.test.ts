/** The batch policy that is found by measurement, over backends that only tell how long they took. */
import { describe, expect, it } from 'vitest';
import { createBatchTuner } from '../../worker/inference/batching/batch-tuner.js';
import { type BatchPolicy, createBatcher } from '../../worker/inference/batching/batcher.js';
import { createManualClock } from '../support/manual-clock.js';

const ran = (size: number, computeMs: number) => ({ size, computeMs, outOfMemoryAt: null });

describe('the policy of a batch tuner', () => {
  it('is that of the manifest where no target is set', () => {
    const tuner = createBatchTuner({ maxInFlight: 2, maxBatchSize: 32, maxDelayMs: 5, maxBatchBytes: 1000 });
    for (let i = 0; i < 100; i++) tuner.policy.onRan?.(ran(32, 10_000));
    expect(tuner.policy).toMatchObject({ maxBatchSize: 32, maxDelayMs: 5, maxBatchBytes: 1000 });
  });

  it('concludes nothing from a few batches', () => {
    const tuner = createBatchTuner({ maxInFlight: 2, maxBatchSize: 32, maxDelayMs: 5, targetP99Ms: 1 });
    for (let i = 0; i < 7; i++) tuner.policy.onRan?.(ran(32, 10_000));
    expect(tuner.policy.maxBatchSize).toBe(32);
    tuner.policy.onRan?.(ran(32, 10_000));
    expect(tuner.policy).toMatchObject({ maxBatchSize: 1, maxDelayMs: 0 });
  });

  it('finds the largest size that is in time, and leaves the rest for the delay', () => {
    const told: BatchPolicy[] = [];
    const tuner = createBatchTuner(
      { maxInFlight: 2, maxBatchSize: 64, maxDelayMs: 50, targetP99Ms: 61.5 },
      (policy) => told.push(policy),
    );
    for (let i = 0; i < 50; i++) tuner.policy.onRan?.(ran(1 + (i % 10), 4 + 1 + (i % 10)));
    // 3 × (4 + 16) = 60, 1.5 are left
    expect(tuner.policy).toMatchObject({ maxBatchSize: 16, maxDelayMs: 1 });
    expect(told.at(-1)).toBe(tuner.policy);
    const roomy = createBatchTuner({ maxInFlight: 2, maxBatchSize: 8, maxDelayMs: 50, targetP99Ms: 60.5 });
    for (let i = 0; i < 50; i++) roomy.policy.onRan?.(ran(1 + (i % 8), 4 + 1 + (i % 8)));
    // 60 - 3 × (4 + 8) = 24
    expect(roomy.policy).toMatchObject({ maxBatchSize: 8, maxDelayMs: 24 });
  });

  it("counts the batches that go before a task's own", () => {
    const sizeOf = (maxInFlight: number) => {
      const tuner = createBatchTuner({ maxInFlight, maxBatchSize: 64, maxDelayMs: 0, targetP99Ms: 60 });
      for (let i = 0; i < 20; i++)
        tuner.policy.onRan?.({ size: 1 + (i % 8), computeMs: 1 + (i % 8), outOfMemoryAt: null });
      return tuner.policy.maxBatchSize;
    };
    expect([sizeOf(2), sizeOf(4)]).toEqual([20, 12]);
  });

  it('makes batches of a preferred size, where one is within what was found', () => {
    const preferredSizes = [8, 16, 64];
    const tuner = createBatchTuner({ maxInFlight: 2, maxBatchSize: 64, maxDelayMs: 5, preferredSizes });
    expect(tuner.policy.maxBatchSize).toBe(64);
    for (const [outOfMemoryAt, size] of [
      [64, 16],
      [20, 8],
      [8, 4],
    ] as const) {
      tuner.policy.onRan?.({ size: 64, computeMs: 9, outOfMemoryAt });
      expect(tuner.policy.maxBatchSize).toBe(size);
    }
  });

  it('leaves time for batches that take longer than the mean', () => {
    const tuner = createBatchTuner({ maxInFlight: 2, maxBatchSize: 64, maxDelayMs: 0, targetP99Ms: 60 });
    for (let i = 0; i < 200; i++)
      tuner.policy.onRan?.(ran(1 + (i % 10), 4 + 1 + (i % 10) + (i % 2 === 0 ? 2 : -2)));
    expect(tuner.policy.maxBatchSize).toBeLessThan(14);
    expect(tuner.policy.maxBatchSize).toBeGreaterThan(8);
  });

  it('follows a backend that becomes slower', () => {
    const tuner = createBatchTuner({ maxInFlight: 2, maxBatchSize: 64, maxDelayMs: 0, targetP99Ms: 64 });
    for (let i = 0; i < 100; i++) tuner.policy.onRan?.(ran(1 + (i % 10), 4 + 1 + (i % 10)));
    for (let i = 0; i < 400; i++) tuner.policy.onRan?.(ran(1 + (i % 5), 2 * (4 + 1 + (i % 5))));
    expect(tuner.policy.maxBatchSize).toBe(6);
  });

  it('halves its ceiling where the memory did not suffice, and remembers', () => {
    const tuner = createBatchTuner({ maxInFlight: 2, maxBatchSize: 64, maxDelayMs: 5 });
    tuner.policy.onRan?.({ size: 64, computeMs: 9, outOfMemoryAt: 64 });
    expect(tuner.policy.maxBatchSize).toBe(32);
    for (let i = 0; i < 100; i++) tuner.policy.onRan?.(ran(32, 1));
    expect(tuner.policy.maxBatchSize).toBe(32);
    tuner.policy.onRan?.({ size: 1, computeMs: 9, outOfMemoryAt: 1 });
    expect(tuner.policy.maxBatchSize).toBe(1);
  });

  it.each([
    ['any size', undefined, 16],
    ['preferred sizes', [1, 4, 16, 64], 16],
  ])('grows from single instances under load that comes late, with %s', (_, preferredSizes, most) => {
    const tuner = createBatchTuner({
      maxInFlight: 2,
      maxBatchSize: 64,
      maxDelayMs: 50,
      targetP99Ms: 61.5,
      ...(preferredSizes && { preferredSizes }),
    });
    // Three times (4 + 1) ms are in time, three times twice as much would be, but not 5 ms for each of many.
    for (let i = 0; i < 2000; i++) tuner.policy.onRan?.(ran(1, 5));
    for (let i = 0; i < 200; i++) {
      const { maxBatchSize } = tuner.policy;
      expect(maxBatchSize).toBeLessThanOrEqual(most);
      tuner.policy.onRan?.(ran(maxBatchSize, 4 + maxBatchSize));
    }
    expect(tuner.policy.maxBatchSize).toBe(most);
  });

  it('tries no larger size where single instances are late already', () => {
    const tuner = createBatchTuner({ maxInFlight: 2, maxBatchSize: 64, maxDelayMs: 50, targetP99Ms: 10 });
    for (let i = 0; i < 100; i++) tuner.policy.onRan?.(ran(1, 5));
    expect(tuner.policy.maxBatchSize).toBe(1);
  });

  it('counts a batch that is filled up by the size to which it is filled up', () => {
    const preferredSizes = [8, 16, 64];
    const tuner = createBatchTuner({
      maxInFlight: 2,
      maxBatchSize: 64,
      maxDelayMs: 0,
      preferredSizes,
      targetP99Ms: 50,
    });
    // A batch of 1 is computed as one of 8, in 12 ms; 16 take 20 ms.
    for (let i = 0; i < 20; i++) tuner.policy.onRan?.(ran(1 + (i % 8), 12));
    for (let i = 0; i < 20; i++) tuner.policy.onRan?.(ran(16, 20));
    expect(tuner.policy.maxBatchSize).toBe(8);
  });

  it('keeps its target at saturation, where the largest batches would miss it by far', async () => {
    const target = 60;
    const tuned = await p99AtSaturation(target);
    expect(tuned.p99).toBeLessThanOrEqual(target);
    expect(tuned.size).toBeGreaterThanOrEqual(12);
    expect((await p99AtSaturation()).p99).toBeGreaterThan(10 * target);
  });
});

/** Three tickets at once, each for as much as a batch holds; a batch of n takes (4 + n) ms, give or take a tenth. */
async function p99AtSaturation(targetP99Ms?: number): Promise<{ p99: number; size: number }> {
  const clock = createManualClock();
  const tuner = createBatchTuner({
    maxInFlight: 2,
    maxBatchSize: 256,
    maxDelayMs: 5,
    ...(targetP99Ms && { targetP99Ms }),
  });
  let seed = 1;
  const noise = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return 0.9 + (0.2 * seed) / 2_147_483_647;
  };
  let backend: Promise<unknown> = Promise.resolve();
  const batcher = createBatcher<number, number>({
    clock,
    maxEnqueued: 10_000,
    run: ({ instances }) => {
      const computeMs = (4 + instances.length) * noise();
      const result = backend.then(async () => {
        await new Promise<void>((resolve) => void clock.after(computeMs, resolve));
        return { results: instances, computeMs };
      });
      backend = result;
      return result;
    },
  });
  const took: number[] = [];
  let isOver = false;
  const task = async () => {
    const startedMs = clock.monotonic();
    await batcher.submit({ kind: 'm@1|', policy: tuner.policy, instances: [1], bytes: 4, timeoutMs: 1e6 });
    took.push(clock.monotonic() - startedMs);
  };
  const ticket = async () => {
    while (!isOver) await Promise.all(Array.from({ length: tuner.policy.maxBatchSize }, task));
  };
  const tickets = Promise.all([ticket(), ticket(), ticket()]);
  await clock.advance(20_000);
  // The first measurements are forgotten.
  took.length = 0;
  await clock.advance(10_000);
  isOver = true;
  await clock.advance(10_000);
  await tickets;
  took.sort((a, b) => a - b);
  return { p99: took[Math.floor(0.99 * took.length)] ?? Number.NaN, size: tuner.policy.maxBatchSize };
}

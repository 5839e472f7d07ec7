/** Values that hold for a whole batch: only instances that agree in them share one. */
import { expect, it } from 'vitest';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import { sliceInstances } from '../../worker/inference/consumer/slices.js';
import { givenRows } from '../../worker/inference/protocol/padded-shape.js';

const manifest = (changes: Partial<Manifest['signature']> = {}) =>
  ({
    signature: {
      inputs: [
        { name: 'x', dtype: 'float32', shape: [1] },
        { name: 'temperature', dtype: 'float32', shape: [], batch: 'shared' },
      ],
      outputs: [{ name: 'y', dtype: 'float32', shape: [1] }],
      ...changes,
    },
    batching: { maxBatchSize: 32, maxDelayMs: 5 },
  }) as unknown as Manifest;

const instance = (x: number, temperature: number): Instance => ({
  x: { dtype: 'float32', shape: [1], data: toBytes(Float32Array.of(x)) },
  temperature: { dtype: 'float32', shape: [], data: toBytes(Float32Array.of(temperature)) },
});

it('are the same for all instances of a slice', () => {
  const instances = [0.5, 1, 0.5, 2, 1].map((temperature, i) => instance(i, temperature));
  const slices = sliceInstances(instances, manifest(), { maxBatchSize: 8 });
  expect(slices.map(({ indexes }) => indexes)).toEqual([[0, 2], [1, 4], [3]]);
  expect(new Set(slices.map(({ shape }) => shape)).size).toBe(3);
});

it('are alike for two jobs by their bytes alone', () => {
  const shapeOf = (temperature: number) =>
    sliceInstances([instance(1, temperature)], manifest(), { maxBatchSize: 8 })[0]?.shape;
  expect(shapeOf(0.7)).toBe(shapeOf(0.7));
  expect(shapeOf(0.7)).not.toBe(shapeOf(0.7000001));
});

it('leave the one size that a model takes to be filled up, also when a batch is tried again', () => {
  const fixed = manifest({ batchSize: 4 });
  const instances = [1, 1, 1, 1, 1].map((temperature, i) => instance(i, temperature));
  expect(sliceInstances(instances, fixed, { maxBatchSize: 8 }).map(({ indexes }) => indexes.length)).toEqual([
    4, 1,
  ]);
  expect(givenRows(fixed, 1, true)).toBe(4);
  expect(givenRows(manifest(), 3, true)).toBe(3);
});

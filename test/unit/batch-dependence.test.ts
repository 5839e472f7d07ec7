/** A version of which nothing shows whether its predictions depend on who shares the batch. */
import { afterAll, expect, it } from 'vitest';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import { findDependence } from '../../worker/inference/child/batch-dependence.js';
import { temporaryFolder } from '../support/started-redis.js';
import { writeDense } from '../support/tiny-models.js';

const folder = temporaryFolder();
afterAll(() => folder.remove());
const { manifest } = writeDense(folder.path);
const data = new Uint8Array(Float32Array.from([1, 2, 3]).buffer);
const example: Instance = { x: { dtype: 'float32', shape: [3], data } };

/** A model that takes nothing but its example. */
const refuses = async (rows: readonly Instance[]): Promise<never> => {
  throw new Error(`${rows.length} rows are none that it knows`);
};

it('has batches of its own where it refuses invented values, unless it allows others', async () => {
  expect(await findDependence(manifest, refuses, example)).toMatch(
    /^Nothing shows .* batches of its own; .*crossJob: allow/,
  );
  const open: Manifest = { ...manifest, batching: { ...manifest.batching, crossJob: 'allow' } };
  expect(await findDependence(open, refuses, example)).toBeNull();
});

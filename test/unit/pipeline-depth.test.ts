import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { pipelineDepthOf } from '../../worker/inference/batching/pipeline-depth.js';

it.each([
  ['mnist', 2],
  ['upscale', 4],
])('of %s %i batches are with the child, so that it never waits', async (name, depth) => {
  const folder = join(import.meta.dirname, '../../deploy/models', name, '1');
  expect(pipelineDepthOf((await readManifest(folder, { name, version: 1 })).signature)).toBe(depth);
});

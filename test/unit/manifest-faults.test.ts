import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';

const mnist = parse(
  readFileSync(join(import.meta.dirname, '../../deploy/models/mnist/1/model.yaml'), 'utf8'),
) as Manifest;
const withBatching = (changes: Partial<Manifest['batching']>) =>
  checkManifest({ ...mnist, batching: { ...mnist.batching, maxBatchSize: 32, ...changes } });

describe('a manifest', () => {
  it('has every one of its faults told', () => {
    const faults = checkManifest({
      ...mnist,
      name: 'No Name',
      colour: 'red',
      batching: { maxBatchSize: 0, maxDelayMs: -1, maxBatchBytes: 1.5, targetP99Ms: 0, maxEnqueued: 0 },
      files: { '../model.json': '1' },
    });
    expect(faults.map(({ path }) => path).sort()).toEqual([
      '/batching/maxBatchBytes',
      '/batching/maxBatchSize',
      '/batching/maxDelayMs',
      '/batching/maxEnqueued',
      '/batching/targetP99Ms',
      '/colour',
      '/files',
      '/files/..~1model.json',
      '/name',
    ]);
  });

  it('has every one told of what does not fit together, too', () => {
    const [input] = mnist.signature.inputs;
    const [output] = mnist.signature.outputs;
    const faults = checkManifest({
      ...mnist,
      batching: { ...mnist.batching, preferredSizes: [8, 4] },
      signature: {
        inputs: [{ ...input, padding: { sizes: [4] }, postprocess: { topK: 1 } }],
        outputs: [{ ...output, labels: ['0'], postprocess: { topK: 1 } }],
      },
    });
    expect(faults).toEqual([
      { path: '/batching/preferredSizes', message: 'must grow' },
      {
        path: '/batching/preferredSizes',
        message: `must end with maxBatchSize, ${mnist.batching.maxBatchSize}`,
      },
      { path: '/signature/inputs/0/postprocess', message: 'is for outputs' },
      { path: '/signature/inputs/0/padding', message: 'needs one size that varies' },
      { path: '/signature/outputs/0/postprocess', message: 'needs 10 labels' },
    ]);
  });

  it('may say how many jobs may wait, and which sizes a batch may have', () => {
    expect(withBatching({ maxEnqueued: 1, preferredSizes: [1, 4, 32] })).toEqual([]);
    expect(withBatching({ preferredSizes: [32] })).toEqual([]);
    expect(withBatching({ preferredSizes: [1, 4] })).toHaveLength(1);
    expect(withBatching({ preferredSizes: [1, 1, 32] })).toHaveLength(1);
  });
});

/** The `postprocess` block: what is declared of it, what is kept of the scores, and how it travels. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import { packInstances, toNested, unpackInstances } from '../../shared/contract/tensors/tensor.js';
import { rank } from '../../worker/inference/child/ranking.js';

const spec = (topK: number): TensorSpec => ({
  name: 'scores',
  dtype: 'float32',
  shape: [4],
  labels: ['ant', 'bée', 'cat', 'dog'],
  postprocess: { topK },
});

describe('a ranking', () => {
  it.each([
    [[0.1, 0.5, 0.25, 0.125], 2, ['bée', 'cat']],
    [[-1, -3, -2, -0.5], 4, ['dog', 'ant', 'cat', 'bée']],
    [[0.5, 0.25, 0.5, 0.5], 3, ['ant', 'cat', 'dog']],
  ])('of %j has the best %i, of equal ones the first before', (scores, topK, labels) => {
    const value = { dtype: 'float32', shape: [4], data: toBytes(Float32Array.from(scores)) } as const;
    const ranked = rank(value, spec(topK));
    const [packed] = unpackInstances(packInstances([{ scores: ranked }]));
    const shown = toNested(packed?.scores ?? value) as { label: string; score: number }[];
    expect(shown.map(({ label }) => label)).toEqual(labels);
    const at = (label: string) => scores[spec(topK).labels?.indexOf(label) ?? 0];
    for (const { label, score } of shown) expect(score).toBeCloseTo(at(label) ?? Number.NaN, 6);
  });
});

describe('a manifest with a postprocess block', () => {
  const mnist = parse(readFileSync('deploy/models/mnist/1/model.yaml', 'utf8')) as Manifest;
  const [output] = mnist.signature.outputs as [TensorSpec];
  const withOutput = (changes: Partial<TensorSpec>) => ({
    ...mnist,
    signature: { ...mnist.signature, outputs: [{ ...output, postprocess: { topK: 3 }, ...changes }] },
  });

  it('is taken where there is a label for each score', () => {
    expect(checkManifest(withOutput({}))).toEqual([]);
  });

  it.each([
    ['fewer labels than scores', { labels: ['0', '1'] }, 'needs 10 labels'],
    ['more wanted than there are', { postprocess: { topK: 11 } }, 'topK must be at most 10'],
    ['scores in two dimensions', { shape: [2, 5] }, 'needs float32 or float64 scores in one dimension'],
    ['as many scores as come', { shape: [null] }, 'needs float32 or float64 scores in one dimension'],
    ['whole numbers', { dtype: 'int32' as const }, 'needs float32 or float64 scores in one dimension'],
  ])('is refused with %s', (_, changes, message) => {
    expect(checkManifest(withOutput(changes))).toEqual([
      { path: '/signature/outputs/0/postprocess', message },
    ]);
  });

  it('is refused on an input', () => {
    const inputs = [{ ...mnist.signature.inputs[0], postprocess: { topK: 1 } }];
    const faults = checkManifest({ ...mnist, signature: { ...mnist.signature, inputs } });
    expect(faults).toEqual([{ path: '/signature/inputs/0/postprocess', message: 'is for outputs' }]);
  });
});

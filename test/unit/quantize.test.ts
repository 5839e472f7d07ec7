/** Quantised weights, as tfjs reads them back. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { io, type Tensor } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { QUANTIZED_WEIGHTS, quantizeWeights } from '../../shared/model-packages/quantize.js';
import { loadedBytes } from '../../shared/model-packages/weights.js';

const root = mkdtempSync(join(tmpdir(), 'sluice-quantize-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Given {
  name: string;
  dtype: 'float32' | 'int32';
  values: number[];
}

/** Returns what tfjs makes of weights that were written as two shards, cut anywhere, and quantised. */
async function requantized(
  dtype: 'float16' | 'uint8',
  given: readonly Given[],
  cut = 0,
): Promise<number[][]> {
  const folder = mkdtempSync(join(root, 'model-'));
  const bytes = Buffer.concat(
    given.map(({ dtype: type, values }) =>
      Buffer.from((type === 'float32' ? Float32Array.from(values) : Int32Array.from(values)).buffer),
    ),
  );
  writeFileSync(join(folder, 'a.bin'), bytes.subarray(0, cut));
  writeFileSync(join(folder, 'b.bin'), bytes.subarray(cut));
  const weights = given.map(({ name, dtype: type, values }) => ({
    name,
    dtype: type,
    shape: [values.length],
  }));
  const model = JSON.stringify({
    format: 'layers-model',
    weightsManifest: [{ paths: ['a.bin', 'b.bin'], weights }],
  });
  const made = await quantizeWeights(folder, model, dtype);
  expect(made.replaced).toEqual(['a.bin', 'b.bin']);
  const file = JSON.parse(made.model) as {
    format: string;
    weightsManifest: [{ paths: string[]; weights: io.WeightsManifestEntry[] }];
  };
  expect(file).toMatchObject({ format: 'layers-model', weightsManifest: [{ paths: [QUANTIZED_WEIGHTS] }] });
  const read = Uint8Array.from(readFileSync(join(folder, QUANTIZED_WEIGHTS))).buffer;
  const tensors = io.decodeWeights(read, file.weightsManifest[0].weights) as Record<string, Tensor>;
  return given.map(({ name }) => Array.from(tensors[name]?.dataSync() ?? []));
}

it('takes four bytes of memory for each weight, however it is kept', async () => {
  const manifest = { format: 'layers' } as Manifest;
  const folder = mkdtempSync(join(root, 'model-'));
  const write = (dtype: string, elements: number) => {
    const quantization = { dtype, scale: 1, min: 0 };
    const weights = [{ name: 'w', dtype: 'float32', shape: [elements, 10], quantization }];
    writeFileSync(
      join(folder, 'model.json'),
      JSON.stringify({ weightsManifest: [{ paths: ['w'], weights }] }),
    );
  };
  write('uint8', 100);
  expect(await loadedBytes(folder, { manifest, sizeBytes: 1200 })).toBe(4000);
  write('uint8', 1);
  expect(await loadedBytes(folder, { manifest, sizeBytes: 1200 })).toBe(1200);
});

const weights = fc.array(fc.float({ noNaN: true, min: -100, max: 100 }), { minLength: 1, maxLength: 50 });

describe('quantised weights', () => {
  it('in float16 keep eleven bits', async () => {
    await fc.assert(
      fc.asyncProperty(weights, fc.nat(20), async (values, cut) => {
        const [read] = await requantized(
          'float16',
          [{ name: 'w', dtype: 'float32', values }],
          Math.min(cut, 4 * values.length),
        );
        for (const [i, value] of values.entries())
          expect(Math.abs((read?.[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(
            Math.abs(value) * 2 ** -11 + 2 ** -25,
          );
      }),
      { numRuns: 50 },
    );
  });

  it('in uint8 are within a step of what they were, and zeros stay zeros', async () => {
    await fc.assert(
      fc.asyncProperty(weights, async (random) => {
        const values = [0, ...random];
        const [read = []] = await requantized('uint8', [{ name: 'w', dtype: 'float32', values }]);
        const step = (Math.max(...values) - Math.min(...values)) / 255;
        for (const [i, value] of values.entries())
          expect(Math.abs((read[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(step * 1.01 + 1e-6);
        expect(read[0]).toBeCloseTo(0, 6);
      }),
      { numRuns: 50 },
    );
  });

  it('are float32 only; others stay as they are, in their order', async () => {
    const given: Given[] = [
      { name: 'a', dtype: 'float32', values: [-1, 0, 1] },
      { name: 'ids', dtype: 'int32', values: [2_000_000_000, -7] },
      { name: 'b', dtype: 'float32', values: [0, 255] },
    ];
    const [a, ids, b] = await requantized('uint8', given, 10);
    expect(ids).toEqual([2_000_000_000, -7]);
    expect(b).toEqual([0, 255]);
    expect(a?.[0]).toBeCloseTo(-1, 2);
  });

  it('are refused where they are not numbers, or fewer than the model says', async () => {
    const bad = { name: 'w', dtype: 'float32', values: [1, Number.NaN] } as const;
    await expect(requantized('uint8', [{ ...bad, values: [...bad.values] }])).rejects.toThrow(
      /NaN or Infinity/,
    );
    const folder = mkdtempSync(join(root, 'short-'));
    writeFileSync(join(folder, 'a.bin'), Buffer.alloc(8));
    const entry = { name: 'w', dtype: 'float32', shape: [3] };
    const model = JSON.stringify({ weightsManifest: [{ paths: ['a.bin'], weights: [entry] }] });
    await expect(quantizeWeights(folder, model, 'float16')).rejects.toThrow(/shorter than model.json says/);
  });
});

/** Padding: declared, made, taken away again; over a backend that runs, whatever shares a batch. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { publishedSchemas } from '../../shared/contract/tensors/signature.js';
import { type Instance, toNested } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { padInstance, trim } from '../../worker/inference/child/padding.js';
import { sliceInstances } from '../../worker/inference/consumer/slices.js';
import { paddingOf } from '../../worker/inference/protocol/padded-shape.js';
import { floats, type TinyModel, writeMasked } from '../support/tiny-models.js';

const folder = mkdtempSync(join(tmpdir(), 'sluice-padding-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const masked = writeMasked(folder);
const { signature } = masked.manifest;

describe('a manifest with padding', () => {
  const change = (kind: 'inputs' | 'outputs', index: number, changes: Partial<TensorSpec>): Manifest => {
    const specs = signature[kind].map((spec, i) => (i === index ? { ...spec, ...changes } : spec));
    return { ...masked.manifest, signature: { ...signature, [kind]: specs } };
  };

  it('is taken', () => {
    expect(checkManifest(masked.manifest)).toEqual([]);
  });

  it.each<[string, Manifest, string, string]>([
    ['of a fixed size', change('inputs', 0, { shape: [4] }), '/inputs/0/padding', 'needs one size'],
    ['of two sizes', change('inputs', 0, { shape: [null, null] }), '/inputs/0/padding', 'needs one size'],
    [
      'to sizes that shrink',
      change('inputs', 0, { padding: { sizes: [8, 4] } }),
      '/inputs/0/padding/sizes',
      'must grow',
    ],
    [
      'of an output',
      change('outputs', 0, { padding: { sizes: [4] } }),
      '/outputs/0/padding',
      'is for inputs',
    ],
    [
      'and a mask of another shape',
      change('inputs', 1, { shape: [null, 2] }),
      '/inputs/1/maskOf',
      'needs numbers, the shape',
    ],
    [
      'and a mask of nothing padded',
      change('inputs', 1, { maskOf: 'mask' }),
      '/inputs/1/maskOf',
      'needs numbers, the shape',
    ],
    [
      'and a mask that comes out',
      change('outputs', 0, { maskOf: 'x' }),
      '/outputs/0/maskOf',
      'is for inputs',
    ],
    [
      'taken from what does not vary',
      change('outputs', 1, { unpad: 'x' }),
      '/outputs/1/unpad',
      'needs one size',
    ],
    ['taken from an input', change('inputs', 0, { unpad: 'x' }), '/inputs/0/unpad', 'is for outputs'],
  ])('is refused %s', (_, manifest, path, message) => {
    const faults = checkManifest(manifest);
    expect(faults).toEqual([{ path: `/signature${path}`, message: expect.stringContaining(message) }]);
  });
});

describe('a padded input', () => {
  it('alone is sent, up to the largest size; the mask is not', async () => {
    const encoder = createInputEncoder(masked.manifest, readImageHeader);
    const [instance] = await encoder.encode([[1, 2, 3]]);
    expect(Object.keys(instance ?? {})).toEqual(['x']);
    await expect(encoder.encode([new Array(17).fill(0)])).rejects.toThrow(/16 items/);
    expect(publishedSchemas(masked.manifest).instance).toMatchObject({
      $defs: { value: { anyOf: [{ type: 'array', maxItems: 16 }, {}, {}] } },
    });
  });

  it('shares a slice with those of the same padded size', () => {
    const instances = [1, 4, 5, 8, 2, 16].map((length) => floats('x', new Array(length).fill(1)));
    const slices = sliceInstances(instances, masked.manifest, { maxBatchSize: 8 });
    expect(slices.map(({ shape, indexes }) => [shape, indexes])).toEqual([
      ['x:4;', [0, 1, 4]],
      ['x:8;', [2, 3]],
      ['x:16;', [5]],
    ]);
    expect(instances.map((each) => paddingOf(signature, each).padding)).toEqual([3, 0, 3, 0, 2, 0]);
  });

  it('is filled and masked along its varying dimension, and outputs cut back, whichever that is', () => {
    const wide: TensorSpec = {
      name: 'x',
      dtype: 'float32',
      shape: [2, null, 2],
      padding: { sizes: [3], value: 9 },
    };
    const mask: TensorSpec = { name: 'mask', dtype: 'int32', shape: [null], maskOf: 'x' };
    const out: TensorSpec = { name: 'y', dtype: 'float32', shape: [2, null, 2], unpad: 'x' };
    const inputs = [wide, mask];
    const value = { ...floats('x', [1, 2, 3, 4, 5, 6, 7, 8]).x, shape: [2, 2, 2] } as Instance['x'] & object;
    const padded = padInstance({ inputs, outputs: [out] }, { x: value });
    expect(Object.values(padded).map(toNested)).toEqual([
      [
        [
          [1, 2],
          [3, 4],
          [9, 9],
        ],
        [
          [5, 6],
          [7, 8],
          [9, 9],
        ],
      ],
      [1, 1, 0],
    ]);
    const cut = trim(out, inputs, padded.x as Instance['x'] & object, { x: value });
    expect(toNested(cut)).toEqual(toNested(value));
  });
});

describe('a model with padding', () => {
  let versions: LoadedVersions;
  beforeAll(async () => {
    const { backend } = await chooseBackend('cpu', '');
    versions = createLoadedVersions(backend, systemClock);
    await load(masked);
  });
  const load = ({ folder: path, manifest }: TinyModel) => versions.load(path, manifest);

  async function compute(instances: readonly Instance[]): Promise<unknown[]> {
    const decoded = await versions.prepare('masked', 1, instances);
    const { results } = await versions.compute('masked', 1, decoded);
    return (await results).map((result) =>
      result.ok ? Object.values(result.outputs).map(toNested) : [result.code],
    );
  }

  it('computes in any batch what it computes alone, bit by bit', async () => {
    const row = fc.array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: 5, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 8 }), async (rows) => {
        const instances = rows.map((values) => floats('x', values));
        const together = await compute(instances);
        // A backend has one caller at a time.
        const alone: unknown[] = [];
        for (const each of instances) alone.push(...(await compute([each])));
        expect(together).toEqual(alone);
        expect(together.map((outputs) => (outputs as unknown[])[0])).toEqual(rows);
      }),
      { numRuns: 50 },
    );
  });

  it('is compared with golden vectors without its padding', async () => {
    const b64 = (values: number[]) => Buffer.from(floats('x', values).x?.data ?? []).toString('base64');
    const golden = (sum: number) => ({
      instances: [[1, 2, 3]],
      outputs: [{ products: { b64: b64([1, 2, 3]) }, sum: { b64: b64([sum]) } }],
    });
    expect(await load(writeMasked(join(folder, 'right'), golden(6)))).toMatchObject({ goldenDifference: 0 });
    // 7 more is what a pad of 7 without its mask would add.
    await expect(load(writeMasked(join(folder, 'wrong'), golden(13)))).rejects.toThrow(/golden instance 0/);
  });
});

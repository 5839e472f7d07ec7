/** Pictures of any size, made what a model takes. */
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { toNested } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { decodeImage } from '../../worker/inference/child/images.js';

const spec: TensorSpec = {
  name: 'picture',
  dtype: 'image',
  shape: [2, 2, 3],
  scale: 1 / 255,
  maxPixels: 100,
  preprocess: { resize: 'fill', mean: [0.5, 0, 1], std: [0.5, 1, 2] },
};
const manifestOf = (input: TensorSpec): Manifest => ({
  name: 'm',
  version: 1,
  format: 'layers',
  signature: { inputs: [input], outputs: [{ name: 'y', dtype: 'float32', shape: [1] }] },
  batching: { maxBatchSize: 1, maxDelayMs: 0 },
  files: { 'model.json': 'a'.repeat(64) },
});

/** Left half red, right half blue. */
async function halves(width: number, height: number): Promise<Buffer> {
  const half = { width: width / 2, height, channels: 3, background: 'blue' } as const;
  const right = await sharp({ create: half }).png().toBuffer();
  const red = sharp({ create: { width, height, channels: 3, background: 'red' } });
  return red
    .composite([{ input: right, left: width / 2, top: 0 }])
    .png()
    .toBuffer();
}

async function decoded(bytes: Buffer, changes: Partial<TensorSpec> = {}): Promise<unknown> {
  const changed = { ...spec, ...changes };
  const encoder = createInputEncoder(manifestOf(changed), readImageHeader);
  const [instance] = await encoder.encode([{ image: { b64: bytes.toString('base64') } }]);
  if (!instance?.picture) throw new Error('nothing was encoded');
  expect(instance.picture.shape).toEqual(changed.shape);
  return toNested(await decodeImage(instance.picture, changed));
}

describe('a picture', () => {
  // (pixel / 255 - mean) / std of red and of blue
  const red = [1, 0, -0.5];
  const blue = [-1, 0, 0];

  it('of another size is stretched to the shape and normalised', async () => {
    // In the middle of each half, so that no blend of both is met.
    const picture = (await decoded(await halves(20, 4), { shape: [1, 4, 3] })) as number[][][];
    expect(picture[0]?.[0]).toEqual(red);
    expect(picture[0]?.[3]).toEqual(blue);
  });

  it('is cut at its edges to cover the shape', async () => {
    const wide = await sharp({ create: { width: 12, height: 2, channels: 3, background: 'red' } })
      .composite([
        { input: { create: { width: 4, height: 2, channels: 3, background: 'blue' } }, left: 4, top: 0 },
      ])
      .png()
      .toBuffer();
    const preprocess = { ...spec.preprocess, resize: 'cover' as const };
    const picture = (await decoded(wide, { preprocess })) as number[][][];
    expect(picture.flat()).toEqual([blue, blue, blue, blue]);
  });

  it('of the model’s own size is only normalised', async () => {
    expect(await decoded(await halves(2, 2))).toEqual([
      [red, blue],
      [red, blue],
    ]);
  });

  it('of more pixels than may be decoded is refused before it is', async () => {
    await expect(decoded(await halves(20, 6))).rejects.toThrow(/20 × 6 pixels, more than 100/);
  });
});

describe('a manifest with a preprocess block', () => {
  it('is taken', () => {
    expect(checkManifest(manifestOf(spec))).toEqual([]);
  });

  it.each<[string, Partial<TensorSpec>, string, string]>([
    ['for numbers', { dtype: 'float32' }, '', 'is for images that come in'],
    [
      'without a size to resize to',
      { shape: [null, 2, 3] },
      '/resize',
      'needs a shape with height and width',
    ],
    ['without a bound', { maxPixels: undefined as never }, '/resize', 'needs maxPixels'],
    ['with a mean too few', { preprocess: { mean: [1, 2] } }, '/mean', 'needs 3 numbers'],
    ['with a std too many', { preprocess: { std: [1, 2, 3, 4] } }, '/std', 'needs 3 numbers'],
  ])('is refused %s', (_, changes, path, message) => {
    const { maxPixels, ...rest } = { ...spec, ...changes };
    const faults = checkManifest(manifestOf(maxPixels === undefined ? rest : { ...rest, maxPixels }));
    expect(faults).toEqual([
      { path: `/signature/inputs/0/preprocess${path}`, message: expect.stringContaining(message) },
    ]);
  });
});

/** Pictures of any size, made what a model takes. */
import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { maxPixelsOf } from '../../shared/contract/tensors/image-input.js';
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

  it('of a model with the channels first becomes planes, each normalised by its own channel', async () => {
    const changes = { shape: [1, 4, 3], layout: 'NCHW' as const };
    const planes = (await decoded(await halves(20, 4), changes)) as number[][][];
    expect(planes.map(([row]) => [row?.[0], row?.[3]])).toEqual(red.map((value, i) => [value, blue[i]]));
    expect(planes).toHaveLength(3);
  });

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
    ['for numbers', { dtype: 'float32' }, '', 'is for images and sounds that come in'],
    [
      'without a size to resize to',
      { shape: [null, 2, 3] },
      '/resize',
      'needs a shape with height and width',
    ],
    ['with a mean too few', { preprocess: { mean: [1, 2] } }, '/mean', 'needs 3 numbers'],
    ['with a std too many', { preprocess: { std: [1, 2, 3, 4] } }, '/std', 'needs 3 numbers'],
  ])('is refused %s', (_, changes, path, message) => {
    expect(checkManifest(manifestOf({ ...spec, ...changes }))).toEqual([
      { path: `/signature/inputs/0/preprocess${path}`, message: expect.stringContaining(message) },
    ]);
  });
});

describe('an image of a manifest', () => {
  it.each([[[2, 2, 4]], [[2, 2]], [[2, 2, 2]]])('of the shape %j is refused', (shape) => {
    const faults = checkManifest(manifestOf({ name: 'x', dtype: 'image', shape }));
    expect(faults).toEqual([
      { path: '/signature/inputs/0/shape', message: expect.stringContaining('1 or 3 channels') },
    ]);
  });

  it('has a bound of its pixels, whatever it says', async () => {
    const open: TensorSpec = { name: 'picture', dtype: 'image', shape: [null, null, 3] };
    const bomb = await sharp({ create: { width: 4097, height: 4096, channels: 3, background: 'red' } })
      .png({ compressionLevel: 9 })
      .toBuffer();
    for (const changes of [{}, { shape: [2, 2, 3], preprocess: { resize: 'fill' as const } }]) {
      const encoder = createInputEncoder(manifestOf({ ...open, ...changes }), readImageHeader);
      await expect(encoder.encode([{ image: { b64: bomb.toString('base64') } }])).rejects.toThrow(
        '4097 × 4096 pixels, more than 16777216',
      );
    }
    expect(maxPixelsOf({ ...open, maxShape: [5000, 5000, 3] })).toBe(25_000_000);
    expect(maxPixelsOf({ ...open, shape: [5000, 5000, 3] })).toBe(25_000_000);
    expect(maxPixelsOf({ ...open, maxPixels: 7 })).toBe(7);
  });
});

/** Red, green, blue and black of eight pixels each, as Pillow 13.0 writes `image.convert('CMYK')` as JPEG. */
const INKS = [
  '/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcG',
  'BggLCAkKCgoKCgYICwwLCgwJCgoK/8AAFAgACAAgBEMRAE0RAFkRAEsRAP/EABkAAAMBAQEAAAAAAAAAAAAAAAAJ',
  'CgcGCP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8AZATuROf4kHVUNQDqEv6vgMveX0R4f//Z',
].join('');

describe('the pixels of a picture', () => {
  const raw = (pixels: Uint8Array | Uint16Array, channels: 1 | 2 | 3 | 4) =>
    sharp(pixels, { raw: { width: pixels.length / channels, height: 1, channels } });
  /** Decodes a picture of one row, and returns its pixels as they are. */
  async function pixelsOf(image: Sharp, channels: 1 | 3, preprocess = {}): Promise<unknown[]> {
    const bytes = await image.toBuffer();
    const { width = 0 } = await sharp(bytes).metadata();
    const changes = { shape: [1, width, channels], scale: 1, maxPixels: 1000, preprocess };
    return ((await decoded(bytes, changes)) as unknown[][]).flat();
  }
  const clear = [200, 30, 10, 0];
  const half = [100, 50, 0, 128];
  const full = [10, 20, 30, 255];
  const rgba = () => raw(new Uint8Array([...clear, ...half, ...full]), 4).png();

  it('are those of Pillow in grey', async () => {
    const colours = [255, 0, 0, 0, 255, 0, 0, 0, 255, 200, 30, 10, 255, 255, 255, 0, 0, 0];
    expect(await pixelsOf(raw(new Uint8Array(colours), 3).png(), 1)).toEqual(
      [76, 150, 29, 79, 255, 0].map((grey) => [grey]),
    );
    const ramp = new Uint8Array(256).map((_, value) => value);
    const greys = [...ramp].map((grey) => [grey]);
    expect(await pixelsOf(raw(ramp, 1).toColourspace('b-w').png(), 1)).toEqual(greys);
  });

  it('are grey in all channels where the picture is', async () => {
    const grey = raw(new Uint8Array([0, 7, 255]), 1).toColourspace('b-w');
    const same = [0, 7, 255].map((value) => [value, value, value]);
    expect(await pixelsOf(grey.clone().png(), 3)).toEqual(same);
    const jpeg = (await pixelsOf(grey.clone().jpeg({ quality: 100 }), 3)) as number[][];
    for (const [i, [value = 0]] of jpeg.entries())
      expect(Math.abs(value - (same[i]?.[0] ?? 0))).toBeLessThan(3);
  });

  it('have eight of sixteen bits', async () => {
    const ramp = new Uint16Array(16).map((_, i) => i * 4369);
    const eight = [...ramp].map((value) => [value >> 8]);
    expect(await pixelsOf(raw(ramp, 1).toColourspace('grey16').png(), 1)).toEqual(eight);
    const colours = raw(new Uint16Array([51_400, 7710, 2570]), 3)
      .toColourspace('rgb16')
      .png();
    expect(await pixelsOf(colours, 3)).toEqual([[200, 30, 10]]);
  });

  it('are those of Pillow in CMYK, in colours and in grey', async () => {
    const bytes = Buffer.from(INKS, 'base64');
    const read = async (channels: number) =>
      (
        (await decoded(bytes, {
          shape: [8, 32, channels],
          scale: 1,
          maxPixels: 256,
          preprocess: {},
        })) as number[][][]
      ).flatMap((row) => [4, 12, 20, 28].map((x) => row[x]));
    const eight = (pixels: number[][]) => Array.from({ length: 8 }, () => pixels).flat();
    expect(await read(3)).toEqual(
      eight([
        [200, 30, 10],
        [10, 200, 30],
        [20, 40, 220],
        [0, 0, 0],
      ]),
    );
    expect(await read(1)).toEqual(eight([[79], [124], [55], [0]]));
  });

  it('are those of the first frame where there are several', async () => {
    const frames = Buffer.concat([Buffer.alloc(12, 200), Buffer.alloc(12, 10)]);
    const shape = { width: 2, height: 4, channels: 3 as const, pageHeight: 2 };
    const webp = sharp(frames, { raw: shape }).webp({ lossless: true });
    const bytes = await webp.toBuffer();
    expect((await sharp(bytes).metadata()).pages).toBe(2);
    const changes = { shape: [2, 2, 3], scale: 1, preprocess: {} };
    expect(await decoded(bytes, changes)).toEqual([0, 1].map(() => [0, 1].map(() => [200, 200, 200])));
  });

  it('are of sRGB where the picture has another profile', async () => {
    const wide = raw(new Uint8Array([200, 30, 10]), 3).withIccProfile('p3');
    const bytes = await wide.png().toBuffer();
    expect((await sharp(bytes).metadata()).hasProfile).toBe(true);
    const [stored] = [...(await sharp(bytes, { ignoreIcc: true }).raw().toBuffer())];
    expect(stored, 'it is kept as other numbers').not.toBe(200);
    const changes = { shape: [1, 1, 3], scale: 1, preprocess: {} };
    const [[pixel = []] = []] = (await decoded(bytes, changes)) as number[][][];
    for (const [i, value] of [200, 30, 10].entries())
      expect(Math.abs((pixel[i] ?? 0) - value)).toBeLessThan(3);
  });

  it('stand as they are where transparency is dropped, also when they are resized', async () => {
    const opaque = [clear, half, full].map((pixel) => pixel.slice(0, 3));
    expect(await pixelsOf(rgba(), 3)).toEqual(opaque);
    expect(await pixelsOf(rgba(), 3, { alpha: 'drop' })).toEqual(opaque);
    expect(
      await decoded(await rgba().toBuffer(), { shape: [1, 1, 3], scale: 1, preprocess: { resize: 'cover' } }),
    ).toEqual([[[100, 50, 0]]]);
    const grey = raw(new Uint8Array([200, 0, 10, 255]), 2)
      .toColourspace('b-w')
      .png();
    expect(await pixelsOf(grey, 1)).toEqual([[200], [10]]);
  });

  it.each([
    ['white', [255, 255, 255], [177, 152, 127]],
    ['black', [0, 0, 0], [50, 25, 0]],
  ])('stand on %s where it is asked for', async (alpha, empty, blend) => {
    const [first, second, third] = (await pixelsOf(rgba(), 3, { alpha })) as number[][];
    expect([first, third]).toEqual([empty, full.slice(0, 3)]);
    for (const [i, value] of (second ?? []).entries())
      expect(Math.abs(value - (blend[i] ?? 0))).toBeLessThan(2);
  });

  it('are refused with an alpha channel where that is asked for, before they are decoded', async () => {
    const opaque = raw(new Uint8Array([1, 2, 3]), 3).png();
    expect(await pixelsOf(opaque, 3, { alpha: 'refuse' })).toEqual([[1, 2, 3]]);
    await expect(pixelsOf(rgba(), 3, { alpha: 'refuse' })).rejects.toThrow(/has an alpha channel/);
  });
});

/** Reading the header of a stranger's file, and refusing files that are not images. */
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { openImage, readImageHeader } from '../../shared/images/image.js';

const picture = sharp({ create: { width: 3, height: 2, channels: 3, background: 'red' } });

it.each(['jpeg', 'png', 'webp'] as const)('reads the header of a %s file, and its pixels', async (format) => {
  const bytes = await picture.clone().toFormat(format, { quality: 100 }).toBuffer();
  expect(await readImageHeader(bytes)).toEqual({ format, width: 3, height: 2 });
  const pixels = await (await openImage(bytes)).removeAlpha().raw().toBuffer();
  expect(pixels).toHaveLength(3 * 2 * 3);
  for (const [i, value] of pixels.entries())
    expect(Math.abs(value - (i % 3 === 0 ? 255 : 0))).toBeLessThan(3);
});

it('gives the size after the rotation that EXIF asks for, and decodes to it', async () => {
  const bytes = await picture.clone().withMetadata({ orientation: 6 }).jpeg().toBuffer();
  expect(await readImageHeader(bytes)).toMatchObject({ width: 2, height: 3 });
  const { info } = await (await openImage(bytes)).raw().toBuffer({ resolveWithObject: true });
  expect(info).toMatchObject({ width: 2, height: 3 });
});

it.each([
  ['no bytes', async () => Buffer.alloc(0)],
  ['text', async () => Buffer.from('not an image at all')],
  ['an SVG', async () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>')],
  ['a GIF', () => picture.clone().gif().toBuffer()],
  ['a TIFF', () => picture.clone().tiff().toBuffer()],
  ['a PNG cut in its header', async () => (await picture.clone().png().toBuffer()).subarray(0, 20)],
])('refuses %s', async (_, make) => {
  await expect(readImageHeader(await make())).rejects.toThrow('is not a JPEG, PNG or WebP file');
});

it('decodes no more pixels than allowed, and no damaged file', async () => {
  const bytes = await picture.clone().resize(40, 40).png().toBuffer();
  const pixels = async (of: Buffer, maxPixels?: number) => (await openImage(of, maxPixels)).raw().toBuffer();
  await expect(pixels(bytes, 1599)).rejects.toThrow(/pixel limit/);
  await expect(pixels(bytes, 1600)).resolves.toHaveLength(4800);
  await expect(pixels(bytes.subarray(0, bytes.length - 20))).rejects.toThrow();
});

/** Reading the header of a stranger's file, and refusing files that are not images. */
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { openImage, readImageHeader } from '../../shared/images/image.js';

const picture = sharp({ create: { width: 3, height: 2, channels: 3, background: 'red' } });

it.each(['jpeg', 'png', 'webp'] as const)('reads the header of a %s file, and its pixels', async (format) => {
  const bytes = await picture.clone().toFormat(format, { quality: 100 }).toBuffer();
  expect(await readImageHeader(bytes)).toEqual({ format, width: 3, height: 2, hasAlpha: false });
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

const cutAt = async (format: 'jpeg' | 'png' | 'webp', length: number) =>
  (await picture.clone().toFormat(format).toBuffer()).subarray(0, length);
const NONE = 'not a JPEG, PNG or WebP file';

it.each([
  ['no bytes', async () => Buffer.alloc(0), `is empty, ${NONE}`],
  ['text', async () => Buffer.from('not an image at all'), `is ${NONE}`],
  ['an SVG', async () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), `is an SVG file, ${NONE}`],
  ['a page', async () => Buffer.from('<!DOCTYPE html><title>404'), `is an HTML or XML file, ${NONE}`],
  ['a GIF', () => picture.clone().gif().toBuffer(), `is a GIF file, ${NONE}`],
  ['a TIFF', () => picture.clone().tiff().toBuffer(), `is a TIFF file, ${NONE}`],
  ['an AVIF', () => picture.clone().avif().toBuffer(), `is an AVIF file, ${NONE}`],
  ['a HEIC', async () => Buffer.from('\0\0\0\x18ftypheic\0\0\0\0'), `is a HEIC file, ${NONE}`],
  [
    'its frames',
    () => picture.clone().gif().toBuffer(),
    '`ffmpeg -i input.gif frame-%03d.png` makes pictures',
  ],
  [
    'an MP4',
    async () => Buffer.from('\0\0\0\x18ftypisom\0\0'),
    'is an MP4 video file, not a JPEG, PNG or WebP file; `ffmpeg -i input.mp4',
  ],
  ['a MOV', async () => Buffer.from('\0\0\0\x18ftypqt  \0\0'), 'is a QuickTime video file'],
  ['a WebM', async () => Buffer.from('\x1aE\xdf\xa3', 'latin1'), 'is a WebM or Matroska video file'],
  ['base64', async () => Buffer.from((await cutAt('jpeg', 99)).toString('base64')), 'it was encoded twice'],
  ['a JPEG cut in its header', () => cutAt('jpeg', 20), 'is a JPEG file whose header is cut off or damaged'],
  ['a PNG cut in its header', () => cutAt('png', 20), 'is a PNG file whose header is cut off or damaged'],
  ['a WebP cut in its header', () => cutAt('webp', 14), 'is a WebP file whose header is cut off or damaged'],
])('refuses %s by its name', async (_, make, reason) => {
  await expect(readImageHeader(await make())).rejects.toThrow(reason);
});

it('decodes no more pixels than allowed, and no damaged file', async () => {
  const bytes = await picture.clone().resize(40, 40).png().toBuffer();
  const pixels = async (of: Buffer, maxPixels?: number) => (await openImage(of, maxPixels)).raw().toBuffer();
  await expect(pixels(bytes, 1599)).rejects.toThrow(/pixel limit/);
  await expect(pixels(bytes, 1600)).resolves.toHaveLength(4800);
  await expect(pixels(bytes.subarray(0, bytes.length - 20))).rejects.toThrow();
});

/**
 * Reads and opens encoded images. Their bytes come from strangers.
 *
 * Promises: a header is read without decoding a pixel. Only libvips' readers for JPEG, PNG and WebP exist in a process that
 * opens an image; its readers for SVG, PDF, TIFF and others are blocked. One thread decodes one image, and nothing is cached.
 * The first image loads libvips, which takes a fifth of a second. When libvips does not load, the fault is ours: a
 * `SluiceError`, whatever the bytes are.
 */
import type { Metadata, Sharp, SharpOptions } from 'sharp';
import { requirePackage } from '../base/packages.js';
import { SluiceError } from '../contract/errors.js';
import { IMAGE_FORMATS, type ImageHeader } from '../contract/tensors/image-input.js';
import { whyNoImage } from './foreign-format.js';

/**
 * Reads the header alone.
 * @throws {Error} whose message is for the caller, when the bytes are not an image of `IMAGE_FORMATS`.
 * @throws {SluiceError} `internal` when libvips does not load.
 */
export async function readImageHeader(bytes: Uint8Array): Promise<ImageHeader> {
  const metadata = bytes.length > 0 ? await readMetadata(bytes) : null;
  const format = IMAGE_FORMATS.find((known) => known === metadata?.format);
  const { width, height } = metadata?.autoOrient ?? {};
  if (!format || !width || !height) throw new Error(whyNoImage(bytes));
  return { format, width, height, hasAlpha: metadata?.hasAlpha ?? false };
}

/**
 * Returns a decoder of `bytes` that rotates the image upright. Decoding rejects when the file is damaged or has more than
 * `maxPixels` pixels; without `maxPixels` libvips' own limit of 268 million holds.
 */
export function openImage(bytes: Uint8Array, maxPixels?: number): Promise<Sharp> {
  return openSharp(bytes, { failOn: 'error', limitInputPixels: maxPixels ?? true, autoOrient: true });
}

/**
 * Returns sharp's pipeline over encoded bytes, or over pixels where `options.raw` says so.
 * @throws {SluiceError} `internal` when libvips does not load.
 */
export async function openSharp(
  bytes: Uint8Array | Uint8ClampedArray,
  options: SharpOptions,
): Promise<Sharp> {
  loading ??= loadSharp();
  const sharp = await loading.catch((cause: unknown) => {
    loading = undefined;
    throw new SluiceError('internal', 'Images cannot be read: libvips does not load.', { cause });
  });
  return sharp(bytes, options);
}

let loading: ReturnType<typeof loadSharp> | undefined;

async function loadSharp() {
  const sharp = requirePackage('sharp') as typeof import('sharp')['default'];
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp'] });
  sharp.cache(false);
  sharp.concurrency(1);
  return sharp;
}

async function readMetadata(bytes: Uint8Array): Promise<Metadata | null> {
  const image = await openSharp(bytes, { limitInputPixels: false });
  return image.metadata().catch(() => null);
}

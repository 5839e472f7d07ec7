/**
 * Encoded images as they arrive: what a file says of itself, and how one is opened.
 *
 * The bytes are a stranger's. Promises: a header is read without decoding a pixel; only the JPEG, PNG and WebP readers
 * of libvips exist in a process that opens an image (its others, for SVG, PDF, TIFF and more, are blocked); one image
 * is decoded by one thread, and nothing of it is cached. libvips is loaded with the first image: it takes a
 * fifth of a second. Where it does not load the fault is ours: a `SluiceError`, whatever the bytes are.
 */
import type { Metadata, Sharp, SharpOptions } from 'sharp';
import { SluiceError } from '../contract/errors.js';
import { IMAGE_FORMATS, type ImageHeader } from '../contract/tensors/image-input.js';

/** Reads the header alone; rejects with a message for the caller when the bytes are no image of these formats. */
export async function readImageHeader(bytes: Uint8Array): Promise<ImageHeader> {
  const metadata = bytes.length > 0 ? await readMetadata(bytes) : null;
  const format = IMAGE_FORMATS.find((known) => known === metadata?.format);
  const { width, height } = metadata?.autoOrient ?? {};
  if (!format || !width || !height) throw new Error('is not a JPEG, PNG or WebP file');
  return { format, width, height };
}

/**
 * A decoder of `bytes`, rotated upright; decoding rejects when the file is damaged or has more than `maxPixels` pixels
 * (unset: libvips' own limit of 268 million).
 */
export function openImage(bytes: Uint8Array, maxPixels?: number): Promise<Sharp> {
  return openSharp(bytes, { failOn: 'error', limitInputPixels: maxPixels ?? true, autoOrient: true });
}

/** Of encoded bytes, or of pixels where `options.raw` says so. */
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
  const { default: sharp } = await import('sharp');
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

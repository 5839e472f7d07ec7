/**
 * Encoding an image input: the encoded file that a caller sends, and the shape that it will have once decoded.
 *
 * Only the header is read here. The pixels are decoded in the worker's child, because a picture that breaks the decoder
 * may then take down nothing else.
 */
import { SluiceError } from '../errors.js';
import type { TensorSpec } from '../models/manifest.js';
import { readEncodedFile } from './encoded-file.js';
import { type EncodeValue, fail } from './input-value.js';

export const IMAGE_FORMATS = ['jpeg', 'png', 'webp'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

export interface ImageHeader {
  format: ImageFormat;
  /** Size in pixels after the rotation that the EXIF data asks for. */
  width: number;
  height: number;
  hasAlpha: boolean;
}

/** The most pixels of a picture whose size nothing else bounds: a photo of 16 megapixels takes 200 MB as float32. */
export const DEFAULT_MAX_PIXELS = 4096 * 4096;

/** Reads the header alone. Rejects, with a message for the caller, bytes that are no image of `IMAGE_FORMATS`. */
export type ReadImageHeader = (bytes: Uint8Array) => Promise<ImageHeader>;

/** Returns the most pixels of a picture for this input: its `maxPixels`, else those of its shape, else the default. */
export function maxPixelsOf(spec: TensorSpec): number {
  return spec.maxPixels ?? pixelsOfShape(spec) ?? DEFAULT_MAX_PIXELS;
}

/** Returns the most pixels that the shape admits; undefined where it says nothing of the file. */
function pixelsOfShape({ shape, maxShape, preprocess }: TensorSpec): number | undefined {
  const [height, width] = [0, 1].map((axis) => shape[axis] ?? maxShape?.[axis]);
  return height === undefined || width === undefined || preprocess?.resize ? undefined : height * width;
}

/**
 * Returns the encoder of one image input. The shape of its values is [height, width, channels].
 *
 * @param readImageHeader is handed in, because it loads a native library that the contract must not need.
 */
export function createImageEncoder(spec: TensorSpec, readImageHeader: ReadImageHeader): EncodeValue {
  // Where the shape bounds height and width, the fault says by which of them.
  const maxPixels =
    spec.maxPixels ?? (pixelsOfShape(spec) === undefined ? DEFAULT_MAX_PIXELS : Number.POSITIVE_INFINITY);
  return async (value, path, findFile) => {
    const { bytes, at, source } = await readEncodedFile('image', 'JPEG, PNG or WebP', value, path, findFile);
    const header = await readImageHeader(bytes).catch((error: Error) => {
      if (error instanceof SluiceError) throw error;
      return fail(source, error.message);
    });
    const { width, height, hasAlpha } = header;
    if (width * height > maxPixels) fail(at, `has ${width} × ${height} pixels, more than ${maxPixels}`);
    if (hasAlpha && spec.preprocess?.alpha === 'refuse')
      fail(at, 'has an alpha channel, which this model refuses; flatten the picture first');
    if (spec.preprocess?.resize) return { dtype: 'image', shape: spec.shape as number[], data: bytes };
    const shape = [height, width, spec.shape[2] ?? 3];
    shape.forEach((size, axis) => {
      const wanted = spec.shape[axis] ?? null;
      const maximum = wanted ?? spec.maxShape?.[axis] ?? Number.MAX_SAFE_INTEGER;
      if ((wanted !== null && size !== wanted) || size > maximum) {
        fail(
          at,
          `is ${width} × ${height}; ${axis === 0 ? 'height' : 'width'} must be ${wanted ?? `at most ${maximum}`}`,
        );
      }
    });
    return { dtype: 'image', shape, data: bytes };
  };
}

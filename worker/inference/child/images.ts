/**
 * Images at the edge of a model: an encoded file -> float32 pixels × scale, and back to a PNG.
 *
 * Decoding is where a stranger's bytes meet native code. It happens in the child only, an image that is damaged fails alone,
 * and no more than `maxPixels` pixels are ever decoded. Colours become 8-bit sRGB, or grey for one channel, as Pillow makes them;
 * most models were trained on its pixels. What becomes of transparency is the model's choice.
 */
import type { Sharp } from 'sharp';

import { modelShape, type TensorSpec } from '../../../shared/contract/models/manifest.js';
import { toTypedArray } from '../../../shared/contract/tensors/dtypes.js';
import { toBytes } from '../../../shared/contract/tensors/elements.js';
import { maxPixelsOf } from '../../../shared/contract/tensors/image-input.js';
import type { Value } from '../../../shared/contract/tensors/tensor.js';
import { openImage, openSharp } from '../../../shared/images/image.js';

/**
 * Resolves with float32 [height, width, channels], or [channels, height, width] for a model that has it so; resized where the
 * spec says so, each pixel × `spec.scale` and normalised.
 * Rejects when the file is damaged, or when its size is not `value.shape`.
 */
export async function decodeImage(value: Value, spec: TensorSpec): Promise<Value> {
  const [height, width, channels] = value.shape as [number, number, number];
  const opened = await opaque(value.data, spec);
  const fit = spec.preprocess?.resize;
  const sized = fit ? opened.resize(width, height, { fit, background: 'black' }) : opened;
  const { data, info } = await sized
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const shape = [info.height, info.width, channels];
  if (shape.some((size, axis) => size !== value.shape[axis])) {
    throw new Error(`decodes to [${shape.join(', ')}], not to the announced [${value.shape.join(', ')}]`);
  }
  const pixels = channels === 1 ? greyOf(data) : data;
  return { dtype: 'float32', shape: modelShape(spec, shape), data: toBytes(normalised(pixels, spec)) };
}

/** Resolves with the picture without transparency. */
async function opaque(bytes: Uint8Array, spec: TensorSpec): Promise<Sharp> {
  const { alpha = 'drop', resize } = spec.preprocess ?? {};
  const image = await openImage(bytes, maxPixelsOf(spec));
  const { hasAlpha, hasProfile, space } = await image.metadata();
  if (space === 'cmyk' && !hasProfile) return ofInks(image);
  if (!hasAlpha) return image;
  if (alpha === 'refuse') throw new Error('it has an alpha channel');
  if (alpha !== 'drop') return image.flatten({ background: alpha });
  if (!resize) return image.removeAlpha();
  // To resize with an alpha channel weighs each colour by it, also where it is dropped afterwards.
  const { data, info } = await image
    .removeAlpha()
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  return openSharp(data, { raw: { width, height, channels: 3 } });
}

/** Resolves with the picture as Pillow makes it of inks that no profile describes: each takes away its own colour. */
async function ofInks(image: Sharp): Promise<Sharp> {
  const inks = image.pipelineColourspace('cmyk').toColourspace('cmyk').raw({ depth: 'uchar' });
  const { data, info } = await inks.toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < rgb.length; i++) {
    const [pixel, colour] = [Math.floor(i / 3) * 4, i % 3];
    rgb[i] = Math.round(
      ((255 - (data[pixel + colour] as number)) * (255 - (data[pixel + 3] as number))) / 255,
    );
  }
  return openSharp(rgb, { raw: { width, height, channels: 3 } });
}

/** Returns the luma of RGB pixels (ITU-R BT.601), rounded as Pillow does. */
function greyOf(rgb: Uint8Array): Uint8Array {
  const grey = new Uint8Array(rgb.length / 3);
  for (let i = 0, from = 0; i < grey.length; i++, from += 3) {
    const [red, green, blue] = [rgb[from] as number, rgb[from + 1] as number, rgb[from + 2] as number];
    grey[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  return grey;
}

/**
 * Resolves with a PNG of float32 [height, width, 1 or 3], or with the channels first; each value ÷ `spec.scale` is rounded and clamped to 0…255. Rejects when
 * the value has another dtype or shape.
 */
export async function encodeImage(value: Value, spec: TensorSpec): Promise<Value> {
  const isPlanar = spec.layout === 'NCHW';
  const [first = 0, second = 0, third = 0] = value.shape;
  const [height, width, channels] = isPlanar ? [second, third, first] : [first, second, third];
  if (value.dtype !== 'float32' || value.shape.length !== 3 || (channels !== 1 && channels !== 3)) {
    throw new Error(
      `${spec.name} is ${value.dtype} [${value.shape.join(', ')}]: no float32 [${isPlanar ? '1 or 3, height, width' : 'height, width, 1 or 3'}]`,
    );
  }
  const pixels = unscaled(toTypedArray('float32', value.data) as Float32Array, spec.scale ?? 1);
  const interleaved = isPlanar ? transposed(pixels, channels) : pixels;
  const image = await openSharp(interleaved, { raw: { width, height, channels } });
  const data = await image.png().toBuffer();
  return { dtype: 'image', shape: [height, width, channels], data };
}

function normalised(
  pixels: Uint8Array,
  { shape, layout, scale = 1, preprocess = {} }: TensorSpec,
): Float32Array {
  const channels = shape[2] ?? 1;
  const plane = layout === 'NCHW' ? pixels.length / channels : null;
  const { mean = [], std = [] } = preprocess;
  const values = new Float32Array(pixels.length);
  for (let i = 0; i < values.length; i++) {
    const channel = i % channels;
    const at = plane === null ? i : channel * plane + (i - channel) / channels;
    values[at] = ((pixels[i] as number) * scale - (mean[channel] ?? 0)) / (std[channel] ?? 1);
  }
  return values;
}

/** Returns pixels whose planes, one for each channel, are interleaved. */
function transposed(planes: Uint8ClampedArray, channels: number): Uint8ClampedArray {
  const pixels = new Uint8ClampedArray(planes.length);
  const plane = planes.length / channels;
  for (let i = 0; i < pixels.length; i++)
    pixels[i] = planes[(i % channels) * plane + Math.floor(i / channels)] as number;
  return pixels;
}

function unscaled(values: Float32Array, scale: number): Uint8ClampedArray {
  const pixels = new Uint8ClampedArray(values.length);
  // Assigning to a clamped array rounds to the nearest integer and clamps.
  for (let i = 0; i < pixels.length; i++) pixels[i] = (values[i] as number) / scale;
  return pixels;
}

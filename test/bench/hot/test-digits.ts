/**
 * The load: real handwritten digits, and what the model must answer to each of them.
 */
import { join } from 'node:path';
import { type Tensor, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { loadModel } from '../../../deploy/models/artefact.js';
import { computeOn } from '../../../deploy/models/compute.js';
import { imageOf, PIXELS, readDigits } from '../../../deploy/models/mnist/idx.js';
import { loadConfig } from '../../../shared/contract/config.js';

/** Enough that no cache of a few answers helps, few enough to keep every body ready in memory. */
const COUNT = 100;

/** Where the artefact lies that every system under load computes with. */
export function modelFolder(): string {
  return join(loadConfig().SLUICE_MODELS_DIR, 'mnist', '1');
}

/** The first test digits, as numbers from 0 to 1. */
export function testImages(): Float32Array[] {
  const digits = readDigits('t10k');
  return Array.from({ length: COUNT }, (_, index) => imageOf(digits, index));
}

/** As a client's JSON holds them: shades of 255 in full precision. */
export function jsonImages(): number[][] {
  const digits = readDigits('t10k');
  return Array.from({ length: COUNT }, (_, index) =>
    Array.from(digits.pixels.subarray(index * PIXELS, (index + 1) * PIXELS), (pixel) => pixel / 255),
  );
}

/** The ten probabilities of each image, computed in plain JavaScript, one image at a time. */
export async function expectedAnswers(images: readonly Float32Array[]): Promise<number[][]> {
  await computeOn('cpu');
  const model = await loadModel(modelFolder());
  const answers = images.map((image) =>
    tidy(() => Array.from((model.predict(tensor2d(image, [1, PIXELS])) as Tensor).dataSync())),
  );
  model.dispose();
  return answers;
}

export const TOLERANCE = 1e-4;

/** The same digit, and every probability as expected within the tolerance. */
export function isRight(answer: unknown, expected: readonly number[]): boolean {
  if (!Array.isArray(answer) || answer.length !== expected.length) return false;
  const isClose = expected.every(
    (value, index) => typeof answer[index] === 'number' && Math.abs(answer[index] - value) <= TOLERANCE,
  );
  return isClose && answer.indexOf(Math.max(...answer)) === expected.indexOf(Math.max(...expected));
}

/**
 * The network 784-256-10: building, training and measuring it.
 *
 * The same digits, epochs and seed give the same weights, bit for bit, on the same backend. So the order of the digits and
 * the first weights come from seeds, and the epochs are walked here, because `model.fit` shuffles without a seed.
 */
import { argMax, type Tensor, tensor1d, tensor2d, tidy, train } from '@tensorflow/tfjs-core';
import { initializers, type LayersModel, layers, sequential } from '@tensorflow/tfjs-layers';
import { type Digits, PIXELS } from './idx.js';

export const NETWORK = {
  architecture: '784-256-10: dense 256 relu, dense 10 softmax',
  optimizer: 'Adam',
  loss: 'sparse categorical cross-entropy',
  /** The rate of the first epoch. It falls by equal steps, so that the last epochs settle near what the first ones found. */
  learningRate: 0.002,
  trainBatchSize: 128,
  seed: 20,
} as const;

/** Returns the untrained network, its first weights drawn from the seed. */
export function buildNetwork(): LayersModel {
  const { glorotUniform } = initializers;
  const model = sequential({ name: 'mnist' });
  model.add(
    layers.dense({
      name: 'hidden',
      units: 256,
      activation: 'relu',
      inputShape: [PIXELS],
      kernelInitializer: glorotUniform({ seed: NETWORK.seed }),
    }),
  );
  model.add(
    layers.dense({
      name: 'probabilities',
      units: 10,
      activation: 'softmax',
      kernelInitializer: glorotUniform({ seed: NETWORK.seed + 1 }),
    }),
  );
  return model;
}

/** Trains on the first `samples` digits, and calls `onEpoch` with the mean loss after each epoch. */
export async function trainNetwork(
  model: LayersModel,
  digits: Digits,
  { epochs, samples }: { epochs: number; samples: number },
  onEpoch: (epoch: number, loss: number) => void,
): Promise<void> {
  const optimizer = train.adam(NETWORK.learningRate);
  model.compile({ optimizer, loss: 'sparseCategoricalCrossentropy' });
  const order = Uint32Array.from({ length: Math.min(samples, digits.count) }, (_, index) => index);
  const random = createRandom(NETWORK.seed);
  for (let epoch = 1; epoch <= epochs; epoch++) {
    shuffle(order, random);
    // tfjs reads the rate at every step but has no setter for it.
    Object.assign(optimizer, { learningRate: (NETWORK.learningRate * (epochs - epoch + 1)) / epochs });
    onEpoch(epoch, await trainEpoch(model, digits, order));
  }
  optimizer.dispose();
}

/** Returns the share of digits, from 0 to 1, whose most probable label is the right one. */
export function accuracyOf(model: LayersModel, digits: Digits): number {
  const step = 1000;
  let right = 0;
  for (let start = 0; start < digits.count; start += step) {
    const indices = Uint32Array.from({ length: Math.min(step, digits.count - start) }, (_, i) => start + i);
    const guesses = tidy(() => {
      const [images] = stack(digits, indices);
      return argMax(model.predict(images) as Tensor, -1).dataSync();
    });
    right += indices.reduce((sum, index, row) => sum + Number(guesses[row] === digits.labels[index]), 0);
  }
  return right / digits.count;
}

async function trainEpoch(model: LayersModel, digits: Digits, order: Uint32Array): Promise<number> {
  let total = 0;
  for (let start = 0; start < order.length; start += NETWORK.trainBatchSize) {
    const indices = order.subarray(start, start + NETWORK.trainBatchSize);
    const [images, labels] = stack(digits, indices);
    const loss = (await model.trainOnBatch(images, labels)) as number;
    images.dispose();
    labels.dispose();
    total += loss * indices.length;
  }
  return total / order.length;
}

/** The digits at `indices` as one batch: images 0..1 and labels. */
function stack(digits: Digits, indices: Uint32Array): [images: Tensor, labels: Tensor] {
  const images = new Float32Array(indices.length * PIXELS);
  const labels = new Float32Array(indices.length);
  indices.forEach((index, row) => {
    for (let pixel = 0; pixel < PIXELS; pixel++) {
      images[row * PIXELS + pixel] = (digits.pixels[index * PIXELS + pixel] ?? 0) / 255;
    }
    labels[row] = digits.labels[index] ?? 0;
  });
  return [tensor2d(images, [indices.length, PIXELS]), tensor1d(labels)];
}

/** Shuffles in place by Fisher and Yates (Knuth, TAOCP, volume 2, algorithm P). */
function shuffle(order: Uint32Array, random: () => number): void {
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const kept = order[last] as number;
    order[last] = order[other] as number;
    order[other] = kept;
  }
}

/** mulberry32: numbers in [0, 1), the same for the same seed everywhere. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * The bare backend: tfjs on wasm in one process, from numbers to numbers, no queue and no HTTP.
 */
import { type Tensor, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { loadModel } from '../../../deploy/models/artefact.js';
import { computeOn } from '../../../deploy/models/compute.js';
import { PIXELS } from '../../../deploy/models/mnist/idx.js';
import { systemClock as clock } from '../../../shared/base/clock.js';
import { answerOrders } from '../measurer.js';
import { modelFolder, testImages } from './test-digits.js';

export interface BackendOrder {
  batchSize: number;
  seconds: number;
}

export interface BackendResult {
  rows: number;
  seconds: number;
}

const images = testImages();
await computeOn('wasm');
const model = await loadModel(modelFolder());

answerOrders(async ({ batchSize, seconds }: BackendOrder): Promise<BackendResult> => {
  const startedMs = clock.monotonic();
  const endMs = startedMs + seconds * 1000;
  let rows = 0;
  while (clock.monotonic() < endMs) {
    computeBatch(rows, batchSize);
    rows += batchSize;
  }
  return { rows, seconds: (clock.monotonic() - startedMs) / 1000 };
});

function computeBatch(first: number, batchSize: number): void {
  const batch = new Float32Array(batchSize * PIXELS);
  for (let row = 0; row < batchSize; row++) {
    batch.set(images[(first + row) % images.length] as Float32Array, row * PIXELS);
  }
  tidy(() => (model.predict(tensor2d(batch, [batchSize, PIXELS])) as Tensor).dataSync());
}

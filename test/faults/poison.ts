/**
 * Preloaded into a worker (`NODE_OPTIONS=--import`): in the process that computes, a picture with an impossible first pixel
 * does to the backend what the worst of inputs do. The process dies for real, in the middle of computing a batch.
 *
 * `COMPUTE_MS` makes every batch take so much longer, as a large model would: whatever is killed is then at work.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Poison } from './evidence.js';
import { POISONS } from './golden-digits.js';

const ACTS: Record<Poison, () => void> = {
  throws: () => {
    throw new Error('the backend refuses this picture');
  },
  aborts: () => process.abort(),
  hangs: () => {
    for (;;);
  },
  swells: () => {
    const kept: number[][] = [];
    for (;;) kept.push(new Array(100_000).fill(kept.length));
  },
};

if (process.argv[1]?.endsWith('inference/child/main.js')) await poisonBackend();

async function poisonBackend(): Promise<void> {
  const { LayersModel, Sequential } = await import('@tensorflow/tfjs-layers');
  const wait = new Int32Array(new SharedArrayBuffer(4));
  const computeMs = Number(process.env.COMPUTE_MS ?? 0);
  for (const { prototype } of [LayersModel, Sequential]) {
    const compute = prototype.call;
    prototype.call = function (inputs, options) {
      for (const tensor of [inputs].flat()) suffer(tensor);
      if (computeMs > 0) Atomics.wait(wait, 0, 0, computeMs);
      return compute.call(this, inputs, options);
    };
  }
}

function suffer(input: Tensor): void {
  const [rows = 0, size = 0] = input.shape;
  const pixels = input.dataSync();
  for (let row = 0; row < rows; row++) {
    const poison = (Object.keys(POISONS) as Poison[]).find((name) => POISONS[name] === pixels[row * size]);
    if (poison) ACTS[poison]();
  }
}

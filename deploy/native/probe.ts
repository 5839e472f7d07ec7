/**
 * Runs a small model on an installed flavour, in a process of its own: `node probe.js <cache folder> <flavour>`.
 * Prints one line of JSON, a `Probe`. The model is computed by hand: a convolution and a dense layer, so that on a GPU
 * both cuDNN and cuBLAS have worked.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../shared/base/clock.js';
import { keepsSharedStrings } from '../../shared/native/string-tensors.js';
import {
  type Flavour,
  gpuComplaints,
  loadTensorflow,
  nativeEnvironment,
  type Tensorflow,
} from '../../shared/native/tensorflow-library.js';
import { runCommand } from '../run-command.js';

export interface Probe {
  tensorflow: string;
  tfjs: string;
  gpu: boolean;
  /** Tensors of strings can be given and taken (shared/native/string-tensors.ts). */
  strings: boolean;
  expected: number;
  computed: number;
  loadMs: number;
  runMs: number;
}

/**
 * The image 0…15 (4×4) summed over 3×3 windows is 45, 54, 81, 90; weighted by 1, 2, 3, 4 plus 0.5 it is 756.5. All of
 * them are exact in the 10-bit mantissa that a GPU may multiply with.
 */
const EXPECTED = 756.5;

/**
 * Loads the library and runs the model in a new process, because this one must not hold the library, and the loader reads
 * LD_LIBRARY_PATH only at a program's start.
 *
 * @returns the probe, and TensorFlow's complaints when it uses no GPU
 * @throws Error when the library does not load or computes wrongly
 */
export async function probe(
  cacheDir: string,
  flavour: Flavour,
  signal: AbortSignal,
): Promise<{ result: Probe; complaints: string[] }> {
  const { stdout, stderr } = await runCommand(
    process.execPath,
    [fileURLToPath(import.meta.url), cacheDir, flavour],
    { signal, environment: { ...nativeEnvironment(cacheDir, flavour), TF_CPP_MIN_LOG_LEVEL: '0' } },
  );
  const result = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Probe;
  if (Math.abs(result.computed - result.expected) > 1e-3)
    throw new Error(
      `TensorFlow computes wrongly here: ${result.computed} instead of ${result.expected} (flavour ${flavour}).`,
    );
  return { result, complaints: result.gpu ? [] : gpuComplaints(stderr) };
}

function measure(cacheDir: string, flavour: Flavour): Probe {
  const start = systemClock.monotonic();
  const tf = loadTensorflow(cacheDir, flavour);
  const loaded = systemClock.monotonic();
  const computed = predict(tf);
  const end = systemClock.monotonic();
  const backend = tf.backend() as unknown as { isUsingGpuDevice: boolean; binding: { TF_Version: string } };
  return {
    tensorflow: backend.binding.TF_Version,
    tfjs: tf.version_core,
    gpu: backend.isUsingGpuDevice,
    strings: keepsSharedStrings(tf),
    expected: EXPECTED,
    computed,
    loadMs: Math.round(loaded - start),
    runMs: Math.round(end - loaded),
  };
}

function predict(tf: Tensorflow): number {
  return tf.tidy(() => {
    const model = tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: [4, 4, 1], filters: 1, kernelSize: 3, useBias: false }),
        tf.layers.flatten(),
        tf.layers.dense({ units: 1 }),
      ],
    });
    model.setWeights([tf.ones([3, 3, 1, 1]), tf.tensor2d([1, 2, 3, 4], [4, 1]), tf.tensor1d([0.5])]);
    const output = model.predict(tf.reshape(tf.range(0, 16), [1, 4, 4, 1]));
    const first = Array.isArray(output) ? output[0] : output;
    const value = first?.dataSync()[0];
    if (value === undefined) throw new Error('The probe model gave no output.');
    return value;
  });
}

const [, script, cacheDir, flavour] = process.argv;
if (script && realpathSync(script) === fileURLToPath(import.meta.url) && cacheDir)
  console.log(JSON.stringify(measure(cacheDir, flavour === 'cuda' ? 'cuda' : 'cpu')));

/**
 * The backends of this product, each with the reason why this machine cannot load it, and a batch run as the child runs it.
 */
import { existsSync } from 'node:fs';
import { loadConfig } from '../../shared/contract/config.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import { faultOfOnnxRuntime } from '../../shared/native/onnx-runtime.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../worker/backends/backend.js';
import type { LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { ONNX_MODELS, TFJS_MODELS, type TinyModels } from './onnx-models.js';

const { SLUICE_CACHE_DIR } = loadConfig();
const cudaFault = existsSync('/dev/nvidia0')
  ? faultOfInstall(SLUICE_CACHE_DIR, 'cuda')
  : 'this machine shows no NVIDIA GPU';
// A process can hold one TensorFlow.
const nativeFault = cudaFault === null ? 'cuda is' : faultOfInstall(SLUICE_CACHE_DIR, 'cpu');

export interface LocalBackend {
  name: BackendName;
  device: string;
  fault: string | null;
  /** The same models for each, in the format that it runs. */
  models: TinyModels;
}

export const LOCAL_BACKENDS: LocalBackend[] = [
  { name: 'wasm', device: 'cpu', fault: null, models: TFJS_MODELS },
  { name: 'cpu', device: 'cpu', fault: null, models: TFJS_MODELS },
  { name: 'native', device: 'cpu', fault: nativeFault, models: TFJS_MODELS },
  { name: 'cuda', device: 'gpu:0', fault: cudaFault, models: TFJS_MODELS },
  { name: 'onnx', device: 'cpu', fault: faultOfOnnxRuntime(SLUICE_CACHE_DIR), models: ONNX_MODELS },
];

/** The backends that run models of TensorFlow.js. */
export const TFJS_BACKENDS = LOCAL_BACKENDS.filter(({ models }) => models === TFJS_MODELS);

/** Prepares a batch and computes it; resolves to a result for each instance. */
export async function runOn(versions: LoadedVersions, name: string, version: number, instances: Instance[]) {
  const { results } = await versions.compute(name, version, await versions.prepare(name, version, instances));
  return results;
}

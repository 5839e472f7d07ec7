/**
 * The backends of this product, each with the reason why this machine cannot load it, and a batch run as the child runs it.
 */
import { existsSync } from 'node:fs';
import { loadConfig } from '../../shared/contract/config.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../worker/backends/backend.js';
import type { LoadedVersions } from '../../worker/inference/child/loaded-versions.js';

const { SLUICE_CACHE_DIR } = loadConfig();
const cudaFault = existsSync('/dev/nvidia0')
  ? faultOfInstall(SLUICE_CACHE_DIR, 'cuda')
  : 'this machine shows no NVIDIA GPU';
// A process can hold one TensorFlow.
const nativeFault = cudaFault === null ? 'cuda is' : faultOfInstall(SLUICE_CACHE_DIR, 'cpu');

export const LOCAL_BACKENDS: { name: BackendName; device: string; fault: string | null }[] = [
  { name: 'wasm', device: 'cpu', fault: null },
  { name: 'cpu', device: 'cpu', fault: null },
  { name: 'native', device: 'cpu', fault: nativeFault },
  { name: 'cuda', device: 'gpu:0', fault: cudaFault },
];

/** Prepares a batch and computes it; resolves to a result for each instance. */
export async function runOn(versions: LoadedVersions, name: string, version: number, instances: Instance[]) {
  const { results } = await versions.compute(name, version, await versions.prepare(name, version, instances));
  return results;
}

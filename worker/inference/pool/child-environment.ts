/**
 * Child environment: the variables that a child needs before it starts, by its backend.
 */
import { nativeEnvironment } from '../../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../backends/backend.js';
import { shareOfCores } from '../../devices/threads.js';

/** Returns the variables of one of `childCount` children that share the cores. */
export function childEnvironment(
  librariesDir: string,
  backend: BackendName | 'auto',
  childCount: number,
): Record<string, string> {
  return {
    ...nativeEnvironment(librariesDir, backend === 'native' ? 'cpu' : 'cuda'),
    ...shareOfCores(childCount),
  };
}

/** Returns the variables that give a child this GPU, none for null. GPUs are numbered by PCI bus, as the driver and its tools do. */
export function gpuEnvironment(gpu: string | null): Record<string, string> {
  // CUDA by itself would take the fastest first.
  return gpu === null ? {} : { CUDA_VISIBLE_DEVICES: gpu, CUDA_DEVICE_ORDER: 'PCI_BUS_ID' };
}

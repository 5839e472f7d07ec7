/**
 * TensorFlow's own library through tfjs-node-gpu: `native` computes on the CPU, `cuda` on an NVIDIA GPU.
 *
 * `cuda` is refused unless TensorFlow says that it uses a GPU, because it would otherwise serve from the CPU in silence. The
 * GPU itself is looked for first, because loading the library costs half a gigabyte and seconds.
 */
import { messageOf } from '../../shared/base/errors.js';
import { loadTensorflow, type Tensorflow } from '../../shared/native/tensorflow-library.js';
import { findGpus } from '../devices/gpus.js';
import type { Backend } from './backend.js';
import { countHandles, loadSavedModel } from './saved-model.js';
import { createTfjsBackend } from './tfjs.js';

/** Libraries that TensorFlow 2.21 opens for a GPU. The driver brings libcuda, `backend:install -- cuda` the others. */
const CUDA_LIBRARIES = [
  'libcuda.so.1',
  'libcudart.so.12',
  'libcublas.so.12',
  'libcublasLt.so.12',
  'libcudnn.so.9',
  'libcufft.so.11',
  'libcusolver.so.11',
  'libcusparse.so.12',
];

/** Resolves to the backend `native`; rejects when the library is not installed. */
export async function openNative(librariesDir: string): Promise<Backend> {
  const tf = loadTensorflow(librariesDir, 'cpu');
  await activate(tf);
  return withSavedModels(tf, createTfjsBackend(tf, 'native', 'cpu'));
}

/** Resolves to the backend `cuda`; rejects, with a remedy, when there is no GPU or TensorFlow does not use it. */
export async function openCuda(librariesDir: string): Promise<Backend> {
  if (findGpus().length === 0)
    throw new Error(
      'this machine shows no NVIDIA GPU (no /dev/nvidia0 or the like, or CUDA_VISIBLE_DEVICES names none)',
    );
  const tf = loadTensorflow(librariesDir, 'cuda');
  await activate(tf);
  if (!isUsingGpu(tf)) throw new Error(`TensorFlow loaded but uses no GPU: ${reasonWithoutGpu()}`);
  return withSavedModels(tf, createTfjsBackend(tf, 'cuda', 'gpu:0'));
}

function withSavedModels(tf: Tensorflow, backend: Backend): Backend {
  return {
    ...backend,
    liveTensors: () => backend.liveTensors() + countHandles(tf),
    load: (folder, manifest) =>
      manifest.format === 'saved_model'
        ? loadSavedModel(tf, folder, manifest)
        : backend.load(folder, manifest),
  };
}

async function activate(tf: Tensorflow): Promise<void> {
  if (!(await tf.setBackend('tensorflow'))) throw new Error('tfjs did not accept its TensorFlow backend');
}

function isUsingGpu(tf: Tensorflow): boolean {
  return (tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true;
}

function reasonWithoutGpu(): string {
  const missing = CUDA_LIBRARIES.map(faultOfLibrary).filter((fault) => fault !== null);
  return missing.length > 0
    ? `${missing.join('; ')}. Run: npm run backend:install -- cuda`
    : 'every CUDA library loads; see what TensorFlow says with TF_CPP_MIN_LOG_LEVEL=0 (driver too old?)';
}

/** Asks the dynamic linker itself. A library that opens is then rejected for being no add-on of Node, which is no fault. */
function faultOfLibrary(library: string): string | null {
  try {
    process.dlopen({ exports: {} }, library);
    return null;
  } catch (error) {
    return /cannot open shared object|no such file/i.test(messageOf(error)) ? messageOf(error) : null;
  }
}

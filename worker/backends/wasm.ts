/** The backend in WebAssembly with SIMD and one thread: the quickest on a CPU for small models, and part of every install. */
import { dirname, sep } from 'node:path';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { requirePackage } from '../../shared/base/packages.js';
import type { Backend } from './backend.js';
import { createTfjsBackend } from './tfjs.js';
import { loadTfjs } from './tfjs-packages.js';

type Core = typeof import('@tensorflow/tfjs-core');

const PACKAGE = '@tensorflow/tfjs-backend-wasm';

/** Resolves to the backend `wasm`; rejects when this Node cannot run it. */
export async function openWasm(): Promise<Backend> {
  const tf = loadTfjs();
  const wasm = requirePackage(PACKAGE) as typeof import('@tensorflow/tfjs-backend-wasm');
  // tfjs would look for its .wasm files beside the script of a web page.
  wasm.setWasmPaths(dirname(requirePackage.resolve(PACKAGE)) + sep);
  if (!(await tf.setBackend('wasm'))) throw new Error('this Node.js cannot run the WebAssembly of tfjs');
  mendCast(tf);
  return createTfjsBackend(tf, 'wasm', 'cpu');
}

interface CastCall {
  inputs: { x: TensorInfo };
  attrs: { dtype: string };
  backend: import('@tensorflow/tfjs-backend-wasm').BackendWasm;
}

/** The kernel of tfjs 4.22 cuts numbers to bytes on their way to a bool, so that 0.5 and 256 are false there. */
function mendCast(tf: Core): void {
  const cast = tf.getKernel(tf.Cast, 'wasm').kernelFunc;
  tf.unregisterKernel(tf.Cast, 'wasm');
  tf.registerKernel({
    kernelName: tf.Cast,
    backendName: 'wasm',
    kernelFunc(call) {
      const { inputs, attrs, backend } = call as unknown as CastCall;
      if (attrs.dtype !== 'bool') return cast(call);
      const output = backend.makeOutput(inputs.x.shape, 'bool');
      const values = backend.typedArrayFromHeap(inputs.x);
      backend.typedArrayFromHeap(output).set(Uint8Array.from(values, (value) => Number(value !== 0)));
      return output;
    },
  });
}

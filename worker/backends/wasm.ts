/** The backend in WebAssembly with SIMD and one thread: the quickest on a CPU for small models, and part of every install. */
import { dirname, sep } from 'node:path';
import type { Backend } from './backend.js';
import { loadTfjs, requirePackage } from './packages.js';
import { createTfjsBackend } from './tfjs.js';

const PACKAGE = '@tensorflow/tfjs-backend-wasm';

/** Resolves to the backend `wasm`; rejects when this Node cannot run it. */
export async function openWasm(): Promise<Backend> {
  const tf = loadTfjs();
  const wasm = requirePackage(PACKAGE) as typeof import('@tensorflow/tfjs-backend-wasm');
  // tfjs would look for its .wasm files beside the script of a web page.
  wasm.setWasmPaths(dirname(requirePackage.resolve(PACKAGE)) + sep);
  if (!(await tf.setBackend('wasm'))) throw new Error('this Node.js cannot run the WebAssembly of tfjs');
  return createTfjsBackend(tf, 'wasm', 'cpu');
}

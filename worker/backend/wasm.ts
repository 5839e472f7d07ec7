/** WebAssembly with SIMD, one thread: the quickest on a CPU for small models, and there with every install. */
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import type { Backend } from './backend.js';
import { createTfjsBackend } from './tfjs.js';

export async function openWasm(): Promise<Backend> {
  const [core, layers, converter, wasm] = await Promise.all([
    import('@tensorflow/tfjs-core'),
    import('@tensorflow/tfjs-layers'),
    import('@tensorflow/tfjs-converter'),
    import('@tensorflow/tfjs-backend-wasm'),
  ]);
  // tfjs would look for its .wasm files beside the script of a web page.
  const main = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(dirname(main) + sep);
  core.enableProdMode();
  if (!(await core.setBackend('wasm'))) throw new Error('this Node.js cannot run the WebAssembly of tfjs');
  return createTfjsBackend(
    { ...core, loadLayersModel: layers.loadLayersModel, loadGraphModel: converter.loadGraphModel },
    'wasm',
    'cpu',
  );
}

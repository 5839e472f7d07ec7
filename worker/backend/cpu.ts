/** Plain JavaScript: slow, and runs wherever Node does. The last resort, and the reference that others are compared with. */
import type { Backend } from './backend.js';
import { createTfjsBackend } from './tfjs.js';

export async function openCpu(): Promise<Backend> {
  const [core, layers, converter] = await Promise.all([
    import('@tensorflow/tfjs-core'),
    import('@tensorflow/tfjs-layers'),
    import('@tensorflow/tfjs-converter'),
  ]);
  // Before the backend's import, which else advises on the console to install another.
  core.enableProdMode();
  await import('@tensorflow/tfjs-backend-cpu');
  if (!(await core.setBackend('cpu'))) throw new Error('tfjs did not accept its JavaScript backend');
  return createTfjsBackend(
    { ...core, loadLayersModel: layers.loadLayersModel, loadGraphModel: converter.loadGraphModel },
    'cpu',
    'cpu',
  );
}

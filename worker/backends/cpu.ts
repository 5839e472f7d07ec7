/** Plain JavaScript: slow, and runs wherever Node does. The last resort, and the reference that others are compared with. */
import type { Backend } from './backend.js';
import { loadTfjs, requirePackage } from './packages.js';
import { createTfjsBackend } from './tfjs.js';

export async function openCpu(): Promise<Backend> {
  const tf = loadTfjs();
  requirePackage('@tensorflow/tfjs-backend-cpu');
  if (!(await tf.setBackend('cpu'))) throw new Error('tfjs did not accept its JavaScript backend');
  return createTfjsBackend(tf, 'cpu', 'cpu');
}

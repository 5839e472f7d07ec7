/** The backend in plain JavaScript: slow, runs wherever Node does, and is the reference for all others. */
import { requirePackage } from '../../shared/base/packages.js';
import type { Backend } from './backend.js';
import { createTfjsBackend } from './tfjs.js';
import { loadTfjs } from './tfjs-packages.js';

/** Resolves to the backend `cpu`. */
export async function openCpu(): Promise<Backend> {
  const tf = loadTfjs();
  requirePackage('@tensorflow/tfjs-backend-cpu');
  if (!(await tf.setBackend('cpu'))) throw new Error('tfjs did not accept its JavaScript backend');
  return createTfjsBackend(tf, 'cpu', 'cpu');
}

/**
 * Loading the packages of tfjs by `require`. Each is one large file, which `import` would read once more for the names that it
 * exports; that took half of a child's start.
 */
import { createRequire } from 'node:module';
import type { Tfjs } from './tfjs.js';

type Core = typeof import('@tensorflow/tfjs-core');
type Layers = typeof import('@tensorflow/tfjs-layers');
type Converter = typeof import('@tensorflow/tfjs-converter');

export const requirePackage = createRequire(import.meta.url);

/** Returns tfjs without a backend. Production mode keeps it from printing advice. */
export function loadTfjs(): Tfjs & Core {
  const core = requirePackage('@tensorflow/tfjs-core') as Core;
  const { loadLayersModel } = requirePackage('@tensorflow/tfjs-layers') as Layers;
  const { loadGraphModel } = requirePackage('@tensorflow/tfjs-converter') as Converter;
  core.enableProdMode();
  return { ...core, loadLayersModel, loadGraphModel };
}

/**
 * The packages of tfjs, by `require`: each is one large file, which `import` would read through once more for the names
 * it exports. That took half of a child's start.
 */
import { createRequire } from 'node:module';
import type { Tfjs } from './tfjs.js';

type Core = typeof import('@tensorflow/tfjs-core');
type Layers = typeof import('@tensorflow/tfjs-layers');
type Converter = typeof import('@tensorflow/tfjs-converter');

export const requirePackage = createRequire(import.meta.url);

/** tfjs without a backend; it prints no advice. */
export function loadTfjs(): Tfjs & Core {
  const core = requirePackage('@tensorflow/tfjs-core') as Core;
  const { loadLayersModel } = requirePackage('@tensorflow/tfjs-layers') as Layers;
  const { loadGraphModel } = requirePackage('@tensorflow/tfjs-converter') as Converter;
  core.enableProdMode();
  return { ...core, loadLayersModel, loadGraphModel };
}

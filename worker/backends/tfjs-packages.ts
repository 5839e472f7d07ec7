/** Loading tfjs, which every backend but ONNX Runtime's stands on. */
import { requirePackage } from '../../shared/base/packages.js';
import type { Tfjs } from './tfjs.js';

type Core = typeof import('@tensorflow/tfjs-core');
type Layers = typeof import('@tensorflow/tfjs-layers');
type Converter = typeof import('@tensorflow/tfjs-converter');

/** Returns tfjs without a backend. Production mode keeps it from printing advice. */
export function loadTfjs(): Tfjs & Core {
  const core = requirePackage('@tensorflow/tfjs-core') as Core;
  const { loadLayersModel } = requirePackage('@tensorflow/tfjs-layers') as Layers;
  const { loadGraphModel } = requirePackage('@tensorflow/tfjs-converter') as Converter;
  core.enableProdMode();
  return { ...core, loadLayersModel, loadGraphModel };
}

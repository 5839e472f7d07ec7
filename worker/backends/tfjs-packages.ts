/** Loading tfjs, which every backend but ONNX Runtime's stands on. */
import { requirePackage } from '../../shared/base/packages.js';
import type { Tfjs } from './tfjs.js';

type Core = typeof import('@tensorflow/tfjs-core');
type Layers = typeof import('@tensorflow/tfjs-layers');
type Converter = typeof import('@tensorflow/tfjs-converter');

/**
 * Returns tfjs without a backend. What loads a kind of model is itself loaded with the first of its kind: most children meet one.
 * Production mode keeps tfjs from printing advice.
 */
export function loadTfjs(): Tfjs & Core {
  const core = requirePackage('@tensorflow/tfjs-core') as Core;
  core.enableProdMode();
  return {
    ...core,
    loadLayersModel: (...model: Parameters<Layers['loadLayersModel']>) =>
      (requirePackage('@tensorflow/tfjs-layers') as Layers).loadLayersModel(...model),
    loadGraphModel: (...model: Parameters<Converter['loadGraphModel']>) =>
      (requirePackage('@tensorflow/tfjs-converter') as Converter).loadGraphModel(...model),
  };
}

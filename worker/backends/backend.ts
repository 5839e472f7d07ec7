/**
 * A backend executes tensors on a device. All other code sees devices only through this file.
 *
 * A backend lives in the child process and has one caller at a time. It owns the tensors that it makes: `run` leaves none
 * behind, also when it throws, and `dispose` frees the version's weights.
 */
import type { Manifest } from '../../shared/contract/models/manifest.js';
import type { Dtype } from '../../shared/contract/tensors/dtypes.js';
import type { Elements } from '../../shared/contract/tensors/elements.js';

export type BackendName = 'cuda' | 'native' | 'wasm' | 'cpu' | 'onnx';

/** Tells whether a backend can run models of a format: SavedModels need TensorFlow itself, ONNX files and nothing else onnx. */
export function canRun(backend: BackendName, format: Manifest['format']): boolean {
  if (format === 'onnx' || backend === 'onnx') return format === backend;
  return format !== 'saved_model' || backend === 'cuda' || backend === 'native';
}

/**
 * A tensor as the model takes or gives it: `shape[0]` is the number of rows, unless the tensor has no batch dimension.
 * `data.length` is the product of `shape`.
 */
export interface BatchTensor {
  dtype: Dtype;
  shape: readonly number[];
  data: Elements;
}

/** Tensors by the name of the input or output in the signature. */
export type BatchTensors = Readonly<Record<string, BatchTensor>>;

export interface RunOptions {
  /** The signature that is run; that of jobs which name none where left out. */
  signatureName?: string | undefined;
  /** The outputs that are computed; all where left out. */
  outputs?: readonly string[] | undefined;
}

export interface LoadedModel {
  /**
   * Resolves to the outputs, each of the shape that the signature says, with as many rows as the inputs. Rejects with the
   * backend's own errors.
   */
  run(inputs: BatchTensors, options?: RunOptions): Promise<BatchTensors>;
  /** The largest relative difference by which an output of a narrow type may be off; left out for float32. */
  precisionOf?(output: string): number | undefined;
  dispose(): void;
}

export interface Backend {
  readonly name: BackendName;
  /** Such as `cpu` or `gpu:0`. */
  readonly device: string;
  /** Loads a version from its folder, whose files have been verified. */
  load(folder: string, manifest: Manifest): Promise<LoadedModel>;
  /** Counts the tensors that are alive. A run that changes the count leaks. */
  liveTensors(): number;
}

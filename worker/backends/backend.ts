/**
 * A backend executes tensors on a device. All other code sees devices only through this file.
 *
 * A backend lives in the child process and has one caller at a time. It owns the tensors that it makes: `run` leaves none
 * behind, also when it throws, and `dispose` frees the version's weights.
 */
import type { Manifest } from '../../shared/contract/models/manifest.js';
import type { Dtype, TypedArray } from '../../shared/contract/tensors/tensor.js';

export type BackendName = 'cuda' | 'native' | 'wasm' | 'cpu';

/** Tells whether a backend can run models of a format: SavedModels need TensorFlow itself. */
export function canRun(backend: BackendName, format: Manifest['format']): boolean {
  return format !== 'saved_model' || backend === 'cuda' || backend === 'native';
}

/** A tensor with its batch dimension: `shape[0]` is the number of rows, `data.length` the product of `shape`. */
export interface BatchTensor {
  dtype: Dtype;
  shape: readonly number[];
  data: TypedArray;
}

/** Tensors by the name of the input or output in the signature. */
export type BatchTensors = Readonly<Record<string, BatchTensor>>;

export interface LoadedModel {
  /** Resolves to every output of the signature, with as many rows as the inputs; rejects with the backend's own errors. */
  run(inputs: BatchTensors): Promise<BatchTensors>;
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

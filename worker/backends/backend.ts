/**
 * Backend: what executes tensors. Everything above sees a device only through this file.
 *
 * A backend lives in the child process and is used by one caller at a time. It owns the tensors it makes: `run` leaves
 * none behind, also when it throws, and `dispose` frees the version's weights.
 */
import type { Manifest } from '../../shared/contract/models/manifest.js';
import type { Dtype, TypedArray } from '../../shared/contract/tensors/tensor.js';

export type BackendName = 'cuda' | 'native' | 'wasm' | 'cpu';

export function canRun(backend: BackendName, format: Manifest['format']): boolean {
  return format !== 'saved_model' || backend === 'cuda' || backend === 'native';
}

/** A tensor with its batch dimension: `shape[0]` = rows, `data.length` = product of `shape`. */
export interface BatchTensor {
  dtype: Dtype;
  shape: readonly number[];
  data: TypedArray;
}

/** By input or output name of the signature. */
export type BatchTensors = Readonly<Record<string, BatchTensor>>;

export interface LoadedModel {
  /** Every output named by the signature, with as many rows as the inputs; throws what the backend throws. */
  run(inputs: BatchTensors): Promise<BatchTensors>;
  dispose(): void;
}

export interface Backend {
  readonly name: BackendName;
  /** `cpu`, `gpu:0`. */
  readonly device: string;
  /** Loads from the version's folder, whose files have been verified. */
  load(folder: string, manifest: Manifest): Promise<LoadedModel>;
  /** Tensors alive now: equal before and after a run, or there is a leak. */
  liveTensors(): number;
}

/**
 * The part that all tfjs backends share: it loads a version from its files and runs batches.
 *
 * tfjs has one engine per process, so one backend is active in it, and its one caller runs one batch at a time.
 * Promises: weights come only from files that the manifest names, whose sha256 was checked; the tensors of a run are freed
 * before it settles, also when it throws; loading finds every input or output of the signature that the model lacks.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { io, Tensor } from '@tensorflow/tfjs-core';
import type { SymbolicTensor } from '@tensorflow/tfjs-layers';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { plainPath } from '../../shared/contract/models/package-path.js';
import type { Dtype, TypedArray } from '../../shared/contract/tensors/tensor.js';
import { checkTopology, isDynamicGraph } from '../../shared/model-packages/topology.js';
import type { Backend, BackendName, BatchTensor, BatchTensors, LoadedModel } from './backend.js';
import { inScope } from './tensor-scope.js';

type Core = typeof import('@tensorflow/tfjs-core');
type Layers = typeof import('@tensorflow/tfjs-layers');
type Converter = typeof import('@tensorflow/tfjs-converter');

/** The parts of tfjs that are used. They may come from any of its packages, which must share one engine. */
export type Tfjs = Pick<Core, 'tensor' | 'engine' | 'dispose' | 'memory'> & {
  io: Pick<Core['io'], 'getModelArtifactsForJSON'>;
} & Pick<Layers, 'loadLayersModel'> &
  Pick<Converter, 'loadGraphModel'>;

/** An input or output of the model itself, which may have another name and order than the signature's. */
interface NetworkTensor {
  name: string;
  dtype: string;
  /** With the batch dimension. A size that varies is null or -1; a graph may give no shape at all. */
  shape?: readonly (number | null)[] | undefined;
}

/** A layers or graph model. `compute` takes and returns tensors in the order of `inputs` and `outputs`. */
interface Network {
  inputs: NetworkTensor[];
  outputs: NetworkTensor[];
  compute(inputs: Tensor[]): Tensor[] | Promise<Tensor[]>;
  dispose(): void;
}

/** Returns the backend that computes with the active backend of `tf`. */
export function createTfjsBackend(tf: Tfjs, name: BackendName, device: string): Backend {
  return {
    name,
    device,
    liveTensors: () => tf.memory().numTensors,
    async load(folder, manifest) {
      if (manifest.format === 'saved_model')
        throw new Error(`a SavedModel runs on TensorFlow itself, not on ${name}`);
      await checkTopology(folder, manifest.format);
      const artifacts = await readArtifacts(tf, folder, manifest);
      const network = await (manifest.format === 'layers' ? loadLayers : loadGraph)(tf, artifacts);
      try {
        return createModel(tf, network, manifest);
      } catch (error) {
        network.dispose();
        throw error;
      }
    },
  };
}

function createModel(tf: Tfjs, network: Network, { signature }: Manifest): LoadedModel {
  const { inputs, outputs } = signature;
  if (inputs.length !== network.inputs.length) {
    throw new Error(`the signature has ${inputs.length} inputs, the model ${network.inputs.length}`);
  }
  const inputIndices = matchNames(inputs, network.inputs, 'input');
  const outputIndices = matchNames(outputs, network.outputs, 'output');
  for (const [index, spec] of inputs.entries())
    checkShape(spec, network.inputs[inputIndices[index] as number]);

  /** Returns new output tensors in the order of the signature, and frees all other tensors. */
  const compute = (batch: BatchTensors): Promise<Tensor[]> =>
    inScope(tf.engine(), async () => {
      const fed = new Array<Tensor>(inputs.length);
      for (const [index, { name }] of inputs.entries()) {
        const tensor = batch[name];
        const at = inputIndices[index] as number;
        if (!tensor) throw new Error(`input ${name} is missing`);
        fed[at] = toTensor(tf, tensor, network.inputs[at] as NetworkTensor);
      }
      const computed = await network.compute(fed);
      return outputIndices.map((at) => computed[at] as Tensor);
    });

  return {
    async run(batch) {
      const rows = Object.values(batch)[0]?.shape[0] ?? 0;
      const computed = await compute(batch);
      try {
        const read = await Promise.all(computed.map((tensor) => tensor.data()));
        return Object.fromEntries(
          outputs.map((spec, index) => {
            const { shape } = computed[index] as Tensor;
            if (shape[0] !== rows) {
              throw new Error(`output ${spec.name} is [${shape.join(', ')}] for a batch of ${rows}`);
            }
            return [spec.name, fromData(spec, read[index] as TypedArray, shape)];
          }),
        );
      } finally {
        tf.dispose(computed);
      }
    },
    dispose: () => network.dispose(),
  };
}

async function loadLayers(tf: Tfjs, artifacts: io.ModelArtifacts): Promise<Network> {
  const model = await tf.loadLayersModel({ load: async () => artifacts });
  // A sequential model has no `inputNames`, but its layers have names.
  const described = (tensors: SymbolicTensor[]) =>
    tensors.map(({ sourceLayer, dtype, shape }) => ({ name: sourceLayer.name, dtype, shape }));
  return {
    inputs: described(model.inputs),
    outputs: described(model.outputs),
    // `predict` would cut batches to 32 and copy, which makes a small model a third slower.
    compute: (inputs) => asArray(model.call(inputs, { training: false })),
    dispose: () => void model.dispose(),
  };
}

/** Loads a graph model. tfjs computes control flow, and operations whose results have any size, only when it is not hurried. */
async function loadGraph(tf: Tfjs, artifacts: io.ModelArtifacts): Promise<Network> {
  const model = await tf.loadGraphModel({ load: async () => artifacts });
  const nodes = model.outputNodes;
  const execute = (inputs: Tensor[]) =>
    isDynamicGraph(artifacts.modelTopology)
      ? model.executeAsync(inputs, nodes)
      : model.execute(inputs, nodes);
  return {
    inputs: model.inputs,
    outputs: model.outputs,
    // An output may be a constant that belongs to the model, so the caller gets a clone to free.
    compute: async (inputs) => asArray(await execute(inputs)).map((tensor) => tensor.clone()),
    dispose: () => model.dispose(),
  };
}

async function readArtifacts(tf: Tfjs, folder: string, manifest: Manifest): Promise<io.ModelArtifacts> {
  const topology = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')) as io.ModelJSON;
  const { trainingConfig: _unused, ...json } = topology;
  return tf.io.getModelArtifactsForJSON(json, async (groups) => {
    const paths = groups.flatMap((group) => group.paths.map(plainPath));
    for (const path of paths) {
      if (!Object.hasOwn(manifest.files, path)) {
        throw new Error(
          `model.json names the weights ${JSON.stringify(path)}, which model.yaml does not list`,
        );
      }
    }
    const shards = await Promise.all(paths.map((path) => readFile(join(folder, path))));
    const weights = new Uint8Array(Buffer.concat(shards));
    return [groups.flatMap((group) => group.weights), weights.buffer];
  });
}

/**
 * Returns for each tensor of the signature the index of the model's tensor: by name when all names are the model's, and by
 * order when none is and the counts agree. A mixture is refused, because it would pair them in a way that nobody meant.
 */
function matchNames(specs: readonly TensorSpec[], tensors: readonly NetworkTensor[], kind: string): number[] {
  const names = tensors.map((tensor) => tensor.name.replace(/:0$/, ''));
  const byName = specs.map((spec) => names.indexOf(spec.name));
  if (byName.every((index) => index >= 0)) return byName;
  if (specs.length !== tensors.length || byName.some((index) => index >= 0)) {
    const declared = specs.map((spec) => spec.name).join(', ');
    throw new Error(`the signature's ${kind}s (${declared}) are not the model's (${names.join(', ')})`);
  }
  return specs.map((_, index) => index);
}

/**
 * Compares the shape of an input with the model. Kernels do not: a convolution takes any height. The golden vectors show
 * whether the outputs fit.
 */
function checkShape({ name, shape }: TensorSpec, tensor: NetworkTensor | undefined): void {
  const sizes = tensor?.shape?.slice(1);
  if (!sizes) return;
  const fits =
    sizes.length === shape.length &&
    sizes.every((size, axis) => size === null || size < 0 || size === shape[axis]);
  if (!fits) {
    throw new Error(`input ${name} is [${shape.join(', ')}], the model takes [${sizes.join(', ')}]`);
  }
}

/** Makes a tensor of the dtype that the model takes. uint8 travels as bytes and becomes int32 or float32 here. */
function toTensor(tf: Tfjs, { data, shape, dtype }: BatchTensor, input: NetworkTensor): Tensor {
  const wanted = input.dtype === 'int32' || input.dtype === 'bool' ? input.dtype : 'float32';
  if (dtype === 'float32' && wanted !== 'float32') {
    throw new Error(`input ${input.name} of the model is ${wanted}, the signature says float32`);
  }
  return tf.tensor(data, [...shape], wanted);
}

/** Returns an output in the dtype of the signature. A float is never rounded to fit an integer. */
function fromData(spec: TensorSpec, data: TypedArray, shape: number[]): BatchTensor {
  const dtype: Dtype = spec.dtype === 'image' ? 'float32' : spec.dtype;
  if (dtype !== 'float32' && data instanceof Float32Array) {
    throw new Error(`output ${spec.name} is float32, the signature says ${dtype}`);
  }
  return { dtype, shape, data: converted(dtype, data) };
}

function converted(dtype: Dtype, data: TypedArray): TypedArray {
  if (dtype === 'float32') return data instanceof Float32Array ? data : Float32Array.from(data);
  if (dtype === 'int32') return data instanceof Int32Array ? data : Int32Array.from(data);
  return data instanceof Uint8Array ? data : Uint8Array.from(Uint8ClampedArray.from(data));
}

function asArray(tensors: Tensor | Tensor[]): Tensor[] {
  return Array.isArray(tensors) ? tensors : [tensors];
}

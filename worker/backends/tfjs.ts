/**
 * What every tfjs backend shares: a version's files -> a model, a batch in, a batch out, no tensor left.
 *
 * tfjs has one engine per process, so one backend is active in it, and the one caller runs one batch at a time.
 * Promises: weights come only from files that the manifest names (their sha256 was checked); whatever a run makes is freed
 * before it settles, also when it throws; an input or output of the signature that the model lacks is found at load.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { io, Tensor } from '@tensorflow/tfjs-core';
import type { SymbolicTensor } from '@tensorflow/tfjs-layers';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import type { Dtype, TypedArray } from '../../shared/contract/tensors/tensor.js';
import { checkTopology } from '../../shared/model-packages/topology.js';
import type { Backend, BackendName, BatchTensor, BatchTensors, LoadedModel } from './backend.js';

type Core = typeof import('@tensorflow/tfjs-core');
type Layers = typeof import('@tensorflow/tfjs-layers');
type Converter = typeof import('@tensorflow/tfjs-converter');

/** The parts of tfjs that are used, whichever package they come from; they must share one engine. */
export type Tfjs = Pick<Core, 'tensor' | 'tidy' | 'dispose' | 'memory'> & {
  io: Pick<Core['io'], 'getModelArtifactsForJSON'>;
} & Pick<Layers, 'loadLayersModel'> &
  Pick<Converter, 'loadGraphModel'>;

/** A place of the model where the signature's tensor of the same index goes in or comes out. */
interface Port {
  name: string;
  dtype: string;
  /** With the batch dimension; a size that varies is null or -1, and a graph may say nothing at all. */
  shape?: readonly (number | null)[] | undefined;
}

/** A layers or graph model, seen alike. `compute` takes and returns tensors in the order of its ports. */
interface Network {
  inputs: Port[];
  outputs: Port[];
  compute(inputs: Tensor[]): Tensor[];
  dispose(): void;
}

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
  const inputPorts = matchPorts(inputs, network.inputs, 'input');
  const outputPorts = matchPorts(outputs, network.outputs, 'output');
  for (const [index, spec] of inputs.entries()) checkShape(spec, network.inputs[inputPorts[index] as number]);

  /** Fresh output tensors in the order of the signature; everything else is freed. */
  const compute = (batch: BatchTensors): Tensor[] =>
    tf.tidy(() => {
      const fed = new Array<Tensor>(inputs.length);
      for (const [index, { name }] of inputs.entries()) {
        const tensor = batch[name];
        const port = inputPorts[index] as number;
        if (!tensor) throw new Error(`input ${name} is missing`);
        fed[port] = toTensor(tf, tensor, network.inputs[port] as Port);
      }
      const computed = network.compute(fed);
      return outputPorts.map((port) => computed[port] as Tensor);
    });

  return {
    async run(batch) {
      const rows = Object.values(batch)[0]?.shape[0] ?? 0;
      const computed = compute(batch);
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
  // A sequential model has no `inputNames`; the layers have names in every kind.
  const ports = (tensors: SymbolicTensor[]) =>
    tensors.map(({ sourceLayer, dtype, shape }) => ({ name: sourceLayer.name, dtype, shape }));
  return {
    inputs: ports(model.inputs),
    outputs: ports(model.outputs),
    // Not `predict`: it cuts batches to 32 and copies; a small model is a third slower with it.
    compute: (inputs) => asArray(model.call(inputs, { training: false })),
    dispose: () => void model.dispose(),
  };
}

/** Control flow (`While`, `If`) cannot run synchronously: tfjs refuses it by name, at the warm-up. */
async function loadGraph(tf: Tfjs, artifacts: io.ModelArtifacts): Promise<Network> {
  const model = await tf.loadGraphModel({ load: async () => artifacts });
  const nodes = model.outputNodes;
  return {
    inputs: model.inputs,
    outputs: model.outputs,
    // An output that is a constant of the graph belongs to the model: the caller frees a clone.
    compute: (inputs) => asArray(model.execute(inputs, nodes)).map((tensor) => tensor.clone()),
    dispose: () => model.dispose(),
  };
}

async function readArtifacts(tf: Tfjs, folder: string, manifest: Manifest): Promise<io.ModelArtifacts> {
  const topology = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')) as io.ModelJSON;
  const { trainingConfig: _unused, ...json } = topology;
  return tf.io.getModelArtifactsForJSON(json, async (groups) => {
    const paths = groups.flatMap((group) => group.paths);
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
 * For each tensor of the signature the index of its port: by name when all names are the model's, else by order when none
 * is and the counts agree. A mixture is refused: it would pair them in a way that nobody meant.
 */
function matchPorts(specs: readonly TensorSpec[], ports: readonly Port[], kind: string): number[] {
  const names = ports.map((port) => port.name.replace(/:0$/, ''));
  const byName = specs.map((spec) => names.indexOf(spec.name));
  if (byName.every((index) => index >= 0)) return byName;
  if (specs.length !== ports.length || byName.some((index) => index >= 0)) {
    const declared = specs.map((spec) => spec.name).join(', ');
    throw new Error(`the signature's ${kind}s (${declared}) are not the model's (${names.join(', ')})`);
  }
  return specs.map((_, index) => index);
}

/** Kernels do not check: a convolution takes whatever height it is given. Outputs show at the golden vectors. */
function checkShape({ name, shape }: TensorSpec, port: Port | undefined): void {
  const sizes = port?.shape?.slice(1);
  if (!sizes) return;
  const fits =
    sizes.length === shape.length &&
    sizes.every((size, axis) => size === null || size < 0 || size === shape[axis]);
  if (!fits) {
    throw new Error(`input ${name} is [${shape.join(', ')}], the model takes [${sizes.join(', ')}]`);
  }
}

/** Fed in the dtype that the model wants: uint8 travels as bytes and becomes int32 or float32 here. */
function toTensor(tf: Tfjs, { data, shape, dtype }: BatchTensor, port: Port): Tensor {
  const wanted = port.dtype === 'int32' || port.dtype === 'bool' ? port.dtype : 'float32';
  if (dtype === 'float32' && wanted !== 'float32') {
    throw new Error(`input ${port.name} of the model is ${wanted}, the signature says float32`);
  }
  return tf.tensor(data, [...shape], wanted);
}

/** In the dtype that the signature declares; a float is never rounded to fit an integer. */
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

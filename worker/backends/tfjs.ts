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
import { messageOf } from '../../shared/base/errors.js';
import { type Manifest, modelDtype, type TensorSpec } from '../../shared/contract/models/manifest.js';
import { NOT_OF_TFJS } from '../../shared/contract/models/manifest-check.js';
import { plainPath } from '../../shared/contract/models/package-path.js';
import { isTfjsDtype, type TfjsDtype } from '../../shared/contract/tensors/dtypes.js';
import { matchPorts } from '../../shared/model-packages/ports.js';
import { graphSignature } from '../../shared/model-packages/tfjs-ports.js';
import { checkTopology, isDynamicGraph } from '../../shared/model-packages/topology.js';
import type { Backend, BackendName, BatchTensor, BatchTensors, LoadedModel } from './backend.js';
import { inScope } from './tensor-scope.js';
import { demandInput, demandOutput, demandPort, rowsOf, wantedOutputs } from './tensor-shapes.js';

type Core = typeof import('@tensorflow/tfjs-core');
type Layers = typeof import('@tensorflow/tfjs-layers');
type Converter = typeof import('@tensorflow/tfjs-converter');

/** The parts of tfjs that are used. They may come from any of its packages, which must share one engine. */
export type Tfjs = Pick<Core, 'tensor' | 'engine' | 'dispose' | 'memory'> & {
  io: Pick<Core['io'], 'getModelArtifactsForJSON'>;
} & Pick<Layers, 'loadLayersModel'> &
  Pick<Converter, 'loadGraphModel'>;

/** The elements of a tensor of tfjs. */
type TfjsData = Float32Array | Int32Array | Uint8Array;

/** An input or output of the model itself, which may have another name and order than the signature's. */
interface NetworkTensor {
  name: string;
  dtype: string;
  /** With the batch dimension. A size that varies is null or -1; a graph may give no shape at all. */
  shape?: readonly (number | null)[] | undefined;
  /** Other texts by which a signature may mean it. */
  aliases?: readonly string[];
}

/** A layers or graph model. */
interface Network {
  inputs: NetworkTensor[];
  outputs: NetworkTensor[];
  /** Its tensors have an order of their maker's. */
  isOrdered: boolean;
  /** Takes tensors in the order of `inputs`, and returns the outputs at these places, in their order. */
  compute(inputs: Tensor[], outputs: readonly number[]): Tensor[] | Promise<Tensor[]>;
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
      if (manifest.format === 'onnx') throw new Error(`an ONNX file runs on onnx, not on ${name}`);
      await checkTopology(folder, manifest);
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

function createModel(tf: Tfjs, network: Network, manifest: Manifest): LoadedModel {
  const { inputs, outputs } = manifest.signature;
  if (inputs.length !== network.inputs.length) {
    throw new Error(`the signature has ${inputs.length} inputs, the model ${network.inputs.length}`);
  }
  const inputPlaces = matchPorts(inputs, network.inputs, 'input', network.isOrdered);
  const outputPlaces = matchPorts(outputs, network.outputs, 'output', network.isOrdered);
  for (const [index, spec] of inputs.entries()) {
    const { dtype, shape } = network.inputs[inputPlaces[index] as number] as NetworkTensor;
    demandPort(manifest, spec, { type: dtype, shape });
  }

  /** Returns new output tensors in the order of `wanted`, and frees all other tensors. */
  const compute = (batch: BatchTensors, wanted: readonly TensorSpec[]): Promise<Tensor[]> =>
    inScope(tf.engine(), async () => {
      const fed = new Array<Tensor>(inputs.length);
      for (const [index, spec] of inputs.entries()) {
        const tensor = batch[spec.name];
        const at = inputPlaces[index] as number;
        if (!tensor) throw new Error(`input ${spec.name} is missing`);
        demandInput(manifest, spec, tensor.shape);
        fed[at] = toTensor(tf, tensor, network.inputs[at] as NetworkTensor, spec);
      }
      return network.compute(
        fed,
        wanted.map((spec) => outputPlaces[outputs.indexOf(spec)] as number),
      );
    });

  return {
    async run(batch, options = {}) {
      const wanted = wantedOutputs(manifest, options);
      const rows = rowsOf(manifest, batch);
      const computed = await compute(batch, wanted).catch((error: unknown) => {
        throw kernelFault(error) ?? error;
      });
      try {
        const read = await Promise.all(computed.map((tensor) => tensor.data()));
        return Object.fromEntries(
          wanted.map((spec, index) => {
            const { shape } = computed[index] as Tensor;
            demandOutput(manifest, spec, shape, rows);
            return [spec.name, fromData(spec, read[index] as TfjsData, shape)];
          }),
        );
      } finally {
        tf.dispose(computed);
      }
    },
    dispose: () => network.dispose(),
  };
}

/** Returns an Error with the way on, for an operation that this backend alone cannot compute. */
function kernelFault(error: unknown): Error | null {
  const [, kernel, backend] =
    /Kernel '(\w+)' not registered for backend '(\w+)'/.exec(messageOf(error)) ?? [];
  if (!kernel) return null;
  return new Error(
    `${backend} cannot compute ${kernel}; \`SLUICE_BACKEND=auto\` serves the model from a backend that can`,
    { cause: error },
  );
}

async function loadLayers(tf: Tfjs, artifacts: io.ModelArtifacts): Promise<Network> {
  const model = await tf.loadLayersModel({ load: async () => artifacts });
  // A sequential model has no `inputNames`, but its layers have names.
  const described = (tensors: SymbolicTensor[]) =>
    tensors.map(({ sourceLayer, dtype, shape }) => ({ name: sourceLayer.name, dtype, shape }));
  return {
    inputs: described(model.inputs),
    outputs: described(model.outputs),
    isOrdered: true,
    // `predict` would cut batches to 32 and copy, which makes a small model a third slower.
    compute: (inputs, outputs) => {
      const all = asArray(model.call(inputs, { training: false }));
      return outputs.map((at) => all[at] as Tensor);
    },
    dispose: () => void model.dispose(),
  };
}

/**
 * Loads a graph model, whose tensors have the names of its signature. Their order is that of the conversion and means nothing.
 * tfjs computes control flow, and operations whose results have any size, only when it is not hurried.
 */
async function loadGraph(tf: Tfjs, artifacts: io.ModelArtifacts): Promise<Network> {
  const model = await tf.loadGraphModel({ load: async () => artifacts });
  const signature = graphSignature(artifacts);
  const aliasesOf = ({ name }: NetworkTensor) => {
    const port = signature?.inputs.find(({ tensor }) => nodeOf(tensor) === nodeOf(name));
    return port ? [port.name, ...(port.aliases ?? [])] : [nodeOf(name)];
  };
  const outputs = signature?.outputs ?? model.outputs.map(({ name }) => ({ name, tensor: name, dtype: '' }));
  const execute = (inputs: Tensor[], names: string[]) =>
    isDynamicGraph(artifacts.modelTopology)
      ? model.executeAsync(inputs, names)
      : model.execute(inputs, names);
  return {
    inputs: model.inputs.map((input) => ({ ...input, aliases: aliasesOf(input) })),
    outputs: outputs.map(({ name, tensor }) => ({
      name,
      dtype: '',
      aliases: [tensor, tensor.replace(/:0$/, '')],
    })),
    isOrdered: false,
    // An output may be a constant that belongs to the model, so the caller gets a clone to free.
    compute: async (inputs, places) => {
      const names = places.map((at) => outputs[at]?.tensor as string);
      return asArray(await execute(inputs, names)).map((tensor) => tensor.clone());
    },
    dispose: () => model.dispose(),
  };
}

/** Returns the operation of a tensor `name:0`. */
function nodeOf(tensor: string): string {
  return tensor.replace(/:\d+$/, '');
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

/** Makes a tensor of the dtype that the model takes. uint8 travels as bytes and becomes int32 or float32 here. */
function toTensor(
  tf: Tfjs,
  { data, shape, dtype }: BatchTensor,
  input: NetworkTensor,
  spec: TensorSpec,
): Tensor {
  const wanted = input.dtype === 'int32' || input.dtype === 'bool' ? input.dtype : 'float32';
  // Manifests are checked: no other dtype comes here.
  const values = data as TfjsData;
  // Pixels were checked to be whole.
  if (spec.dtype === 'image' && wanted === 'int32')
    return tf.tensor(Int32Array.from(values), [...shape], wanted);
  if (dtype === 'float32' && wanted !== 'float32') {
    throw new Error(`input ${input.name} of the model is ${wanted}, the signature says float32`);
  }
  return tf.tensor(values, [...shape], wanted);
}

/** Returns an output in the dtype of the signature. A float is never rounded to fit an integer. */
function fromData(spec: TensorSpec, data: TfjsData, shape: number[]): BatchTensor {
  const dtype = modelDtype(spec);
  if (!isTfjsDtype(dtype)) throw new Error(`output ${spec.name} is ${dtype}, ${NOT_OF_TFJS}`);
  if (dtype !== 'float32' && data instanceof Float32Array) {
    throw new Error(`output ${spec.name} is float32, the signature says ${dtype}`);
  }
  return { dtype, shape, data: converted(dtype, data) };
}

function converted(dtype: TfjsDtype, data: TfjsData): TfjsData {
  if (dtype === 'float32') return data instanceof Float32Array ? data : Float32Array.from(data);
  if (dtype === 'int32') return data instanceof Int32Array ? data : Int32Array.from(data);
  return data instanceof Uint8Array ? data : Uint8Array.from(Uint8ClampedArray.from(data));
}

function asArray(tensors: Tensor | Tensor[]): Tensor[] {
  return Array.isArray(tensors) ? tensors : [tensors];
}

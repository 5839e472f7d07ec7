/**
 * ONNX Runtime on the CPU, for ONNX files.
 *
 * Promises: no model is loaded that was not checked here; it computes with the threads of this child's share of the cores; a value
 * that does not fit the type in which it travels fails the run and is never wrapped.
 */
import { join } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-common';
import { entryOf, type Manifest } from '../../shared/contract/models/manifest.js';
import { inspectOnnx, type OnnxPort, type OnnxType } from '../../shared/model-packages/onnx/signature.js';
import { matchPorts } from '../../shared/model-packages/ports.js';
import { loadOnnxRuntime, type OnnxRuntime } from '../../shared/native/onnx-runtime.js';
import { threadsHere } from '../devices/threads.js';
import type { Backend, BatchTensor, LoadedModel } from './backend.js';
import { fromOnnx, PRECISIONS, toOnnx } from './onnx-values.js';
import { demandInput, demandOutput, demandPort, rowsOf, wantedOutputs } from './tensor-shapes.js';

/** ONNX Runtime would write each error that it throws to stderr, too, where callers with bad inputs could fill a log. */
const LOG_FATAL = { logSeverityLevel: 4 } as const;

/** Resolves to the backend `onnx`; rejects when ONNX Runtime is not installed. */
export async function openOnnx(librariesDir: string): Promise<Backend> {
  const runtime = loadOnnxRuntime(librariesDir);
  /** Tensors in the hands of runs. Those of weights are the session's. */
  const live = new Set<Tensor>();
  return {
    name: 'onnx',
    device: 'cpu',
    liveTensors: () => live.size,
    async load(folder, manifest) {
      const network = await openNetwork(runtime, folder, manifest);
      try {
        return createModel(runtime, network, manifest, live);
      } catch (error) {
        await network.session.release();
        throw error;
      }
    },
  };
}

interface Network {
  session: InferenceSession;
  inputs: readonly OnnxPort[];
  outputs: readonly OnnxPort[];
}

async function openNetwork(runtime: OnnxRuntime, folder: string, manifest: Manifest): Promise<Network> {
  const entry = manifest.format === 'onnx' ? entryOf('onnx', Object.keys(manifest.files)) : null;
  if (entry === null) throw new Error(`a model of the format ${manifest.format} does not run on onnx`);
  const { faults, ...network } = inspectOnnx(folder, entry, manifest);
  if (faults.length > 0) throw new Error(faults.map((fault) => `${entry} ${fault}`).join('; '));
  const session = await runtime.InferenceSession.create(join(folder, entry), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threadsHere(),
    interOpNumThreads: 1,
    ...LOG_FATAL,
  });
  return { ...network, session };
}

function createModel(
  runtime: OnnxRuntime,
  { session, ...network }: Network,
  manifest: Manifest,
  live: Set<Tensor>,
): LoadedModel {
  const { inputs, outputs } = manifest.signature;
  if (inputs.length !== network.inputs.length)
    throw new Error(`the signature has ${inputs.length} inputs, the model ${network.inputs.length}`);
  const inputPorts = matchPorts(inputs, network.inputs, 'input', true).map(portAt(network.inputs));
  const outputPorts = matchPorts(outputs, network.outputs, 'output', true).map(portAt(network.outputs));
  for (const [i, spec] of inputs.entries()) demandPort(manifest, spec, inputPorts[i] as ServedPort);

  return {
    async run(batch, options = {}) {
      const wanted = wantedOutputs(manifest, options);
      const rows = rowsOf(manifest, batch);
      const held: Tensor[] = [];
      const hold = (tensor: Tensor) => {
        held.push(tensor);
        live.add(tensor);
        return tensor;
      };
      try {
        const fed = inputs.map((spec, i) => {
          const tensor = batch[spec.name];
          if (!tensor) throw new Error(`input ${spec.name} is missing`);
          demandInput(manifest, spec, tensor.shape);
          const { name, onnxType } = inputPorts[i] as ServedPort;
          const values = toOnnx(spec, tensor, onnxType);
          return [name, hold(new runtime.Tensor(onnxType, values, tensor.shape))] as const;
        });
        const places = wanted.map((spec) => outputPorts[outputs.indexOf(spec)] as ServedPort);
        const computed = await session.run(
          Object.fromEntries(fed),
          places.map(({ name }) => name),
          LOG_FATAL,
        );
        const read = wanted.map((spec, i): [string, BatchTensor] => {
          const { name, onnxType } = places[i] as ServedPort;
          const { dims, data } = hold(computed[name] as Tensor);
          demandOutput(manifest, spec, dims, rows);
          return [spec.name, { ...fromOnnx(spec, data, onnxType), shape: dims }];
        });
        return Object.fromEntries(read);
      } finally {
        for (const tensor of held) {
          tensor.dispose();
          live.delete(tensor);
        }
      }
    },
    precisionOf(output) {
      const place = outputs.findIndex(({ name }) => name === output);
      return PRECISIONS[outputPorts[place]?.onnxType ?? 'float32'];
    },
    dispose: () => void session.release(),
  };
}

/** A tensor whose type has a form here. */
type ServedPort = OnnxPort & { onnxType: OnnxType };

function portAt(ports: readonly OnnxPort[]) {
  return (place: number): ServedPort => {
    const { onnxType, ...port } = ports[place] as OnnxPort;
    if (onnxType === null) throw new Error(`${port.name} is ${port.type}, for which there is no form here`);
    return { ...port, onnxType };
  };
}

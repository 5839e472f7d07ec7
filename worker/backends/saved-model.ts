/**
 * A SavedModel on TensorFlow itself: the whole graph runs in one call, as its maker exported it.
 *
 * This module calls the binding directly (handles.ts), because the tensors of tfjs know few of the types, and tfjs reads the file
 * in a way of its own. Promises: no program runs that was not checked here; the tensors of a run are freed when it ends, also
 * when it throws; an integer that the dtype of the signature cannot hold fails the run and is never wrapped.
 */
import type { NodeJSKernelBackend } from '@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js';
import {
  type Manifest,
  modelDtype,
  signatureNames,
  type TensorSpec,
  withSignature,
} from '../../shared/contract/models/manifest.js';
import { portOf } from '../../shared/model-packages/ports.js';
import {
  readSavedModel,
  type SavedModelPort,
  type SavedModelPorts,
  TF_TYPES,
} from '../../shared/model-packages/saved-model/signature.js';
import { keepsSharedStrings } from '../../shared/native/string-tensors.js';
import type { Tensorflow } from '../../shared/native/tensorflow-library.js';
import type { BatchTensor, LoadedModel } from './backend.js';
import { type Binding, type Metadata, openHandles } from './handles.js';
import { demandInput, demandOutput, rowsOf, wantedOutputs } from './tensor-shapes.js';

const TAGS = 'serve';

/** Loads the SavedModel of a version; rejects when its program may not run here or does not fit the signature. */
export async function loadSavedModel(
  tf: Tensorflow,
  folder: string,
  manifest: Manifest,
): Promise<LoadedModel> {
  const { signatureName, signatures } = await readSavedModel(folder, manifest);
  const programs = new Map(
    signatureNames(manifest).map((name) => [name, programOf(manifest, name, signatures.get(name))]),
  );
  const binding = bindingOf(tf);
  demandStrings(tf, manifest);
  const session = binding.loadSavedModel(folder, TAGS);

  return {
    async run(batch, options = {}) {
      const program = programs.get(options.signatureName ?? signatureName);
      if (!program) throw new Error(`there is no signature ${options.signatureName}`);
      const { inputs, outputs, manifest: own } = program;
      const wanted = wantedOutputs(own, options);
      const [from, to] = [own.signature.inputs.map(inputs), wanted.map(outputs)];
      const rows = rowsOf(own, batch);
      const handles = openHandles(binding);
      try {
        const fed = own.signature.inputs.map((spec, i) => {
          const tensor = batch[spec.name];
          if (!tensor) throw new Error(`input ${spec.name} is missing`);
          demandInput(own, spec, tensor.shape);
          return handles.create(tensor, from[i]?.number);
        });
        const computed = handles.hold(
          binding.runSavedModel(session, fed, placesOf(from).join(','), placesOf(to).join(',')),
        );
        const read = wanted.map((spec, i) => {
          const output = computed[i] as Metadata;
          demandOutput(own, spec, output.shape, rows);
          const dtype = modelDtype(spec);
          return [spec.name, { dtype, shape: output.shape, data: handles.read(spec.name, output, dtype) }];
        });
        return Object.fromEntries(read) as Record<string, BatchTensor>;
      } finally {
        handles.close();
      }
    },
    precisionOf(output) {
      const spec = manifest.signature.outputs.find(({ name }) => name === output);
      return spec && PRECISIONS.get(programs.get(signatureName)?.outputs(spec).number ?? -1);
    },
    dispose: () => binding.deleteSavedModel(session),
  };
}

/** Refuses outputs of strings on a binding that would empty the constants of the graph. */
function demandStrings(tf: Tensorflow, { signature, signatures = {} }: Manifest): void {
  const all = [signature, ...Object.values(signatures)].flatMap(({ outputs }) => outputs);
  const text = all.find(({ dtype }) => dtype === 'string');
  if (!text || keepsSharedStrings(tf)) return;
  throw new Error(
    `output ${text.name} is string, which the native library of this worker cannot give yet. Run there: npm run backend:install -- cpu|cuda`,
  );
}

/** Half of the distance between 1 and the next number, with room for the rounding of sums. */
const PRECISIONS: ReadonlyMap<number, number> = new Map([
  [TF_TYPES.float16, 2 ** -8],
  [TF_TYPES.bfloat16, 2 ** -5],
]);

/** Returns how one signature of the version finds its tensors in the graph. */
function programOf(manifest: Manifest, name: string, ports: SavedModelPorts | undefined) {
  const own = withSignature(manifest, name);
  if (!own || !ports) throw new Error(`the SavedModel has no signature ${name} that only computes`);
  const find = (list: readonly SavedModelPort[]) => (spec: TensorSpec) => {
    const port = portOf(list, spec);
    if (!port?.dtype) throw new Error(`the SavedModel has no tensor ${spec.from ?? spec.name} to serve`);
    return port;
  };
  const [inputs, outputs] = [find(ports.inputs), find(ports.outputs)];
  own.signature.inputs.forEach(inputs);
  own.signature.outputs.forEach(outputs);
  return { manifest: own, inputs, outputs };
}

function placesOf(ports: readonly SavedModelPort[]): string[] {
  return ports.map(({ place }) => place);
}

/** Counts the tensors that TensorFlow holds for the models of this module. */
export function countHandles(tf: Tensorflow): number {
  return bindingOf(tf).getNumOfTensors();
}

function bindingOf(tf: Tensorflow): Binding {
  return (tf.backend() as NodeJSKernelBackend).binding;
}

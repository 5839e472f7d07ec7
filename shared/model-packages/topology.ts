/**
 * Checks the parts of a tfjs model in its model.json before tfjs reads it: the layers of a layers model, wrapped and nested
 * ones too; the operations of a graph model, of its functions and of its initialiser. Only parts on a list pass, so that
 * nothing runs code of the model's maker (`Lambda`, custom layers and operations) or looks for files.
 */
import type { Manifest } from '../contract/models/manifest.js';
import { ASYNC_OPS, graphOperationFault } from './graph-operations.js';
import { MODEL_FILE, readModelFile } from './tfjs-ports.js';

const LAYERS: ReadonlySet<string> = new Set(
  `Activation Add AlphaDropout Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional
  CategoryEncoding CenterCrop Concatenate Conv1D Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM2D ConvLSTM2DCell
  Cropping2D Dense DepthwiseConv2D Dot Dropout ELU Embedding Flatten Functional GaussianDropout GaussianNoise
  GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D GRU GRUCell InputLayer LayerNormalization
  LeakyReLU LSTM LSTMCell Masking Maximum MaxPooling1D MaxPooling2D MaxPooling3D Minimum Model Multiply Permute PReLU ReLU
  RepeatVector Rescaling Reshape Resizing RNN SeparableConv2D Sequential SimpleRNN SimpleRNNCell Softmax SpatialDropout1D
  StackedRNNCells ThresholdedReLU TimeDistributed UpSampling2D ZeroPadding2D`.split(/\s+/),
);
/** The fields of a layer's configuration that may hold other layers. */
const PARTS = ['layers', 'layer', 'backward_layer', 'cell', 'cells'];

/** Throws an Error that names the first layer or operation that is not allowed. */
export async function checkTopology(
  folder: string,
  { format, stateful }: Pick<Manifest, 'format' | 'stateful'>,
): Promise<void> {
  if (format !== 'layers' && format !== 'graph') return;
  const { modelTopology, modelInitializer } = await readModelFile(folder);
  // tfjs runs the second graph before the first run of the first.
  const graphs = [modelTopology, modelInitializer];
  if (format === 'graph') demandOperations(graphs.flatMap(operationsOf), stateful === 'allow');
  else if (isOfKeras3(modelTopology))
    throw new Error(
      `${MODEL_FILE} was written by Keras 3, whose layers TensorFlow.js does not load: export a SavedModel by model.export('export')`,
    );
  else demandLayers(layersOf(field(modelTopology, 'model_config') ?? modelTopology));
}

/** Returns the format of a model.json that names none, as TensorFlow.js 1 wrote it; null where the topology is neither. */
export function formatOfTopology(topology: unknown): 'layers' | 'graph' | null {
  if (Array.isArray(field(topology, 'node'))) return 'graph';
  const model = field(topology, 'model_config') ?? topology;
  return typeof field(model, 'class_name') === 'string' ? 'layers' : null;
}

/**
 * Tells whether a graph has an operation that tfjs computes asynchronously: control flow, or one whose result has a size that
 * only its values tell.
 */
export function isDynamicGraph(topology: unknown): boolean {
  return operationsOf(topology).some((op) => ASYNC_OPS.has(op));
}

type Dictionary = Record<string, unknown>;

function demandLayers(used: ReadonlySet<string>): void {
  const refused = [...used].filter((name) => !LAYERS.has(name)).sort();
  if (refused.length > 0)
    throw new Error(
      `${MODEL_FILE} uses layers that are not allowed: ${refused.join(', ')}; a SavedModel or a graph model of it has operations in their place`,
    );
}

function demandOperations(used: readonly string[], stateful: boolean): void {
  const byFault = new Map<string, string[]>();
  for (const op of [...new Set(used)].sort()) {
    const fault = graphOperationFault(op, stateful);
    if (fault !== null) byFault.set(fault, [...(byFault.get(fault) ?? []), op]);
  }
  const refused = [...byFault].map(([fault, ops]) => `${ops.join(', ')} (${fault})`);
  if (refused.length > 0)
    throw new Error(`${MODEL_FILE} uses operations that are not allowed: ${refused.join(', ')}`);
}

function layersOf(model: unknown): Set<string> {
  const names = allLayers(model).map((layer) => field(layer, 'class_name'));
  return new Set(names.map((name) => (typeof name === 'string' ? name : '(one without a name)')));
}

/** Returns a model and all layers within it. */
function allLayers(model: unknown): unknown[] {
  const found: unknown[] = [];
  const left = [model];
  while (left.length > 0) {
    const layer = left.pop();
    found.push(layer);
    const config = field(layer, 'config');
    // Old versions of Keras write a sequential model as a bare list of layers.
    left.push(...(Array.isArray(config) ? config : PARTS.flatMap((part) => field(config, part) ?? [])));
  }
  return found;
}

/** Keras 3 names the shape of an input anew, and describes the arguments of layers by objects. */
function isOfKeras3(topology: unknown): boolean {
  const model = field(topology, 'model_config') ?? topology;
  return (
    String(field(topology, 'keras_version')).startsWith('3.') ||
    allLayers(model).some(
      (layer) =>
        field(field(layer, 'config'), 'batch_shape') !== undefined ||
        listOf(field(layer, 'inbound_nodes')).some((node) => field(node, 'args') !== undefined),
    )
  );
}

function operationsOf(graph: unknown): string[] {
  const functions = listOf(field(field(graph, 'library'), 'function'));
  const nodes = [
    ...listOf(field(graph, 'node')),
    ...functions.flatMap((each) => listOf(field(each, 'nodeDef'))),
  ];
  return nodes.map((node) => String(field(node, 'op')));
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Dictionary)[name]
    : undefined;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

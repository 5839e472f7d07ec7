/**
 * Checks the parts of a tfjs model in its model.json before tfjs reads it: the layers of a layers model, wrapped and nested
 * ones too; the operations of a graph model, of its functions and of its initialiser. Only parts on a list pass, so that
 * nothing runs code of the model's maker (`Lambda`, custom layers and operations) or looks for files.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Manifest } from '../contract/models/manifest.js';
import { MODEL_FILE } from './manifest.js';
import { GRAPH_OPS } from './saved-model/operations.js';

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
export async function checkTopology(folder: string, format: Manifest['format']): Promise<void> {
  if (format === 'saved_model') return;
  const { modelTopology, modelInitializer } = JSON.parse(
    await readFile(join(folder, MODEL_FILE), 'utf8'),
  ) as Dictionary;
  // tfjs runs the second graph before the first run of the first.
  const graphs = [modelTopology, modelInitializer];
  if (format === 'graph') demand('operations', new Set(graphs.flatMap(operationsOf)), GRAPH_OPS);
  else demand('layers', layersOf(field(modelTopology, 'model_config') ?? modelTopology), LAYERS);
}

type Dictionary = Record<string, unknown>;

function demand(kind: string, used: ReadonlySet<string>, allowed: ReadonlySet<string>): void {
  const refused = [...used].filter((name) => !allowed.has(name)).sort();
  if (refused.length > 0)
    throw new Error(`${MODEL_FILE} uses ${kind} that are not allowed: ${refused.join(', ')}`);
}

function layersOf(model: unknown): Set<string> {
  const names = new Set<string>();
  const left = [model];
  while (left.length > 0) {
    const layer = left.pop();
    const name = field(layer, 'class_name');
    names.add(typeof name === 'string' ? name : '(one without a name)');
    const config = field(layer, 'config');
    // Old versions of Keras write a sequential model as a bare list of layers.
    left.push(...(Array.isArray(config) ? config : PARTS.flatMap((part) => field(config, part) ?? [])));
  }
  return names;
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

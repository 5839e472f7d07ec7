/**
 * The program of an ONNX model, checked for what it would do beside computing with what it holds: read other files, draw random
 * numbers, or run operations that somebody else wrote.
 */
import type { Manifest } from '../../contract/models/manifest.js';
import { isContainedPath, plainPath } from '../../contract/models/package-path.js';
import { intIn, type Message, messageIn, messagesIn, textIn } from '../protobuf.js';
import { ONNX_FIELDS } from './fields.js';

const { ModelProto, GraphProto, NodeProto, AttributeProto, FunctionProto } = ONNX_FIELDS;
const { TensorProto, SparseTensorProto, StringStringEntryProto } = ONNX_FIELDS;

/** The owners of operations that are part of ONNX Runtime. The empty one is ONNX itself. */
const DOMAINS: ReadonlySet<string> = new Set(['', 'ai.onnx', 'ai.onnx.ml', 'com.microsoft']);
const RANDOM: ReadonlySet<string> = new Set([
  ...['RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike', 'Multinomial', 'Bernoulli'],
]);
/** `TensorProto.DataLocation.EXTERNAL`. */
const EXTERNAL = 1;
/** Faults name so many operations at most. */
const MAX_NAMED = 10;

interface Operation {
  /** Its owner. */
  domain: string;
  name: string;
}

/** The parts of a manifest that say what a model may do: it may read the files of its version, and no others. */
export type SaidOfOnnx = Pick<Partial<Manifest>, 'files' | 'stateful'>;

/** Returns everything for which a model may not run here. */
export function programFaultsOf(model: Message, { files = {}, stateful }: SaidOfOnnx): string[] {
  const { nodes, tensors } = partsOf(model);
  const operations = nodes.map(
    (node): Operation => ({
      domain: textIn(node, NodeProto.domain),
      name: textIn(node, NodeProto.op_type),
    }),
  );
  return [
    ...foreignFaults(model, operations),
    ...(stateful ? [] : chanceFaults(operations)),
    ...new Set(tensors.flatMap((tensor) => fileFaults(tensor, Object.keys(files)))),
  ];
}

/** Returns the names of the weights of a graph. */
export function tensorNamesIn(graph: Message): ReadonlySet<string> {
  const dense = messagesIn(graph, GraphProto.initializer);
  const sparse = messagesIn(graph, GraphProto.sparse_initializer).map((each) =>
    messageIn(each, SparseTensorProto.values),
  );
  return new Set([...dense, ...sparse].map((tensor) => textIn(tensor, TensorProto.name)));
}

/** A model may bring functions of its own, which are made of other operations. */
function foreignFaults(model: Message, operations: readonly Operation[]): string[] {
  const functions = messagesIn(model, ModelProto.functions).map((each) =>
    textOf({ domain: textIn(each, FunctionProto.domain), name: textIn(each, FunctionProto.name) }),
  );
  const foreign = operations.filter(({ domain }) => !DOMAINS.has(domain)).map(textOf);
  const names = [...new Set(foreign)].filter((name) => !functions.includes(name)).sort();
  if (names.length === 0) return [];
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '';
  return [
    `uses operations that are not part of ONNX Runtime: ${names.slice(0, MAX_NAMED).join(', ')}${more}; libraries of custom operations are not loaded here`,
  ];
}

function chanceFaults(operations: readonly Operation[]): string[] {
  const drawing = operations.filter(({ domain, name }) => DOMAINS.has(domain) && RANDOM.has(name));
  if (drawing.length === 0) return [];
  const names = [...new Set(drawing.map(({ name }) => name))].sort().join(', ');
  return [
    `draws random numbers by ${names}, so equal inputs get unlike predictions: export it for inference, or say \`stateful: allow\` in model.yaml`,
  ];
}

function textOf({ domain, name }: Operation): string {
  return `${domain}::${name}`;
}

/**
 * ONNX Runtime looks for the file beside the model, and the manifest has its hash. Where several are named, every one is
 * judged, because which one is taken is up to the reader.
 */
function fileFaults(tensor: Message, files: readonly string[]): string[] {
  const entries = messagesIn(tensor, TensorProto.external_data);
  if (intIn(tensor, TensorProto.data_location) !== EXTERNAL && entries.length === 0) return [];
  const places = entries
    .filter((each) => textIn(each, StringStringEntryProto.key) === 'location')
    .map((each) => textIn(each, StringStringEntryProto.value));
  if (places.length === 0) return ['has weights in a file that it does not name'];
  return places.flatMap((place) => {
    const shown = JSON.stringify(place);
    if (!isContainedPath(plainPath(place)))
      return `has weights in ${shown}, which is no path inside the folder of the version`;
    return files.includes(plainPath(place))
      ? []
      : `has weights in ${shown}, which is not there: send that file beside it`;
  });
}

/** Returns the nodes of all graphs and functions, and the tensors that a model holds: as weights, and as attributes. */
function partsOf(model: Message): { nodes: Message[]; tensors: Message[] } {
  const nodes: Message[] = [];
  const tensors: Message[] = [];
  const graphs = [messageIn(model, ModelProto.graph)];
  const addSparse = (sparse: Message) =>
    tensors.push(messageIn(sparse, SparseTensorProto.values), messageIn(sparse, SparseTensorProto.indices));

  function addAttribute(attribute: Message): void {
    graphs.push(...messagesIn(attribute, AttributeProto.g), ...messagesIn(attribute, AttributeProto.graphs));
    tensors.push(
      ...messagesIn(attribute, AttributeProto.t),
      ...messagesIn(attribute, AttributeProto.tensors),
    );
    for (const field of [AttributeProto.sparse_tensor, AttributeProto.sparse_tensors])
      messagesIn(attribute, field).forEach(addSparse);
  }

  function addNodes(added: readonly Message[]): void {
    for (const node of added) {
      nodes.push(node);
      messagesIn(node, NodeProto.attribute).forEach(addAttribute);
    }
  }

  for (const each of messagesIn(model, ModelProto.functions)) {
    addNodes(messagesIn(each, FunctionProto.node));
    messagesIn(each, FunctionProto.attribute_proto).forEach(addAttribute);
  }
  for (let graph = graphs.pop(); graph; graph = graphs.pop()) {
    tensors.push(...messagesIn(graph, GraphProto.initializer));
    messagesIn(graph, GraphProto.sparse_initializer).forEach(addSparse);
    addNodes(messagesIn(graph, GraphProto.node));
  }
  return { nodes, tensors };
}

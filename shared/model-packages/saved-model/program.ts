/**
 * The program of a SavedModel as its saved_model.pb holds it: its one graph with its functions, and the parts that TensorFlow
 * runs when it loads the model. Field numbers are those of TensorFlow's meta_graph.proto and of the files that it imports.
 */
import {
  intIn,
  type Message,
  mapIn,
  messageIn,
  messagesIn,
  parseMessage,
  textIn,
  textsIn,
} from './protobuf.js';

export interface GraphNode {
  name: string;
  op: string;
  /** Tensors (`node` or `node:1` in a graph), then the nodes that only order execution (`^node`). */
  inputs: string[];
  /** Functions that the node may call: those that its attributes name at any depth, and its operation if a function has that name. */
  names: ReadonlySet<string>;
}

export interface GraphFunction {
  name: string;
  firstArgument: string | undefined;
  nodes: GraphNode[];
  /** TensorFlow may call this function in place of another one with the same attribute. */
  replaces: boolean;
}

export interface TensorInfo {
  name: string;
  dtype: number;
  /** Null when the rank is unknown; -1 is an unknown size. */
  shape: number[] | null;
}

export interface Program {
  nodes: GraphNode[];
  functions: GraphFunction[];
  /** The served signature: its tensors by name. */
  signature: { inputs: ReadonlyMap<string, TensorInfo>; outputs: ReadonlyMap<string, TensorInfo> };
  /** TensorFlow runs `restore` with the place of the variables in the tensor `filename`. Both are empty without variables. */
  saver: { filename: string; restore: string };
  /** Nodes that TensorFlow may run after restoring. */
  initializers: string[];
}

const TAG = 'serve';
const SIGNATURE = 'serving_default';
const INITIALIZE = '__saved_model_init_op';
/** Collections in which old exports name nodes to run and files to read. */
const INITIALIZE_OF_OLD = ['saved_model_main_op', 'legacy_init_op'];
const ASSETS_OF_OLD = 'saved_model_assets';
const REPLACES = 'api_implements';

/** The most nodes of the graph and its functions together. A large model has a tenth of that; a hostile file fits a node in a few bytes. */
const MAX_NODES = 2 ** 18;

/** Parses a saved_model.pb; throws an Error that says what is wrong with it. */
export function parseProgram(bytes: Uint8Array): Program {
  const graphs = messagesIn(parseMessage(bytes), 2);
  const tags = graphs.map((each) => textsIn(messageIn(each, 1), 4).join(' '));
  const [graph] = graphs;
  // TensorFlow picks the first graph with the wanted tags, so there must be exactly one graph.
  if (graphs.length !== 1 || tags[0] !== TAG || !graph)
    throw new Error(
      `the SavedModel must hold one graph, with the one tag "${TAG}"; it holds ${graphs.length}, tagged ${JSON.stringify(tags)}`,
    );
  demandNoAssets(graph);
  const [saver, signatures] = [messageIn(graph, 3), mapIn(graph, 5)];
  const signature = signatures.get(SIGNATURE);
  if (!signature) throw new Error(`the SavedModel has no signature ${SIGNATURE}`);
  return {
    ...graphOf(messageIn(graph, 2)),
    signature: { inputs: tensorsOf(signature, 1), outputs: tensorsOf(signature, 2) },
    saver: { filename: textIn(saver, 1), restore: textIn(saver, 3) },
    initializers: initializersOf(signatures.get(INITIALIZE), mapIn(graph, 4)),
  };
}

/** TensorFlow reads collections only where a signature is missing. This check reads all of them, which is simpler and safe. */
function initializersOf(signature: Message | undefined, collections: ReadonlyMap<string, Message>): string[] {
  const outputs = signature ? [...mapIn(signature, 2).values()] : [];
  const lists = INITIALIZE_OF_OLD.flatMap((key) => collections.get(key) ?? []);
  return [
    ...outputs.map((info) => textIn(info, 1)),
    ...lists.flatMap((collection) => textsIn(messageIn(collection, 1), 1)),
  ];
}

/** TensorFlow would put the paths of assets into tensors that the model names, and such paths may lead anywhere. */
function demandNoAssets(graph: Message): void {
  if (graph.has(6) || mapIn(graph, 4).has(ASSETS_OF_OLD))
    throw new Error('the SavedModel has assets, files of its own that it reads, which is not allowed');
}

/** Gradient definitions of the library are not read: they serve Python and operations that are on no list. */
function graphOf(graph: Message): Pick<Program, 'nodes' | 'functions'> {
  let count = 0;
  const nodesIn = (message: Message, field: number): GraphNode[] => {
    const nodes = messagesIn(message, field);
    count += nodes.length;
    if (count > MAX_NODES) throw new Error(`the SavedModel is made of more than ${MAX_NODES} operations`);
    return nodes.map(nodeOf);
  };
  const nodes = nodesIn(graph, 1);
  const functions = messagesIn(messageIn(graph, 2), 1);
  return {
    nodes,
    functions: functions.map((each) => ({ ...declarationOf(each), nodes: nodesIn(each, 3) })),
  };
}

function nodeOf(node: Message): GraphNode {
  const op = textIn(node, 2);
  return {
    name: textIn(node, 1),
    op,
    inputs: textsIn(node, 3),
    names: new Set([op, ...functionsIn([...mapIn(node, 5).values()])]),
  };
}

/** An attribute may name one function or several, and each of those has attributes that name functions in turn. */
function functionsIn(attributes: readonly Message[]): string[] {
  const names: string[] = [];
  const left = [...attributes];
  for (let value = left.pop(); value; value = left.pop()) {
    const listed = messagesIn(value, 1).flatMap((list) => messagesIn(list, 9));
    for (const named of [...messagesIn(value, 10), ...listed]) {
      names.push(textIn(named, 1));
      left.push(...mapIn(named, 2).values());
    }
  }
  return names;
}

function declarationOf(definition: Message): Omit<GraphFunction, 'nodes'> {
  const declared = messageIn(definition, 1);
  const name = textIn(declared, 1);
  // Default attributes could name functions. No export has any, so they are refused.
  if (declared.has(4))
    throw new Error(`the function ${name} of the SavedModel has parameters besides tensors`);
  const [first] = messagesIn(declared, 2);
  return {
    name,
    firstArgument: first && textIn(first, 1),
    replaces: mapIn(definition, 5).has(REPLACES),
  };
}

function tensorsOf(signature: Message, field: number): Map<string, TensorInfo> {
  return new Map([...mapIn(signature, field)].map(([name, info]) => [name, tensorOf(info)]));
}

function tensorOf(info: Message): TensorInfo {
  // Readers disagree about the name of a tensor that consists of several, such as a sparse one.
  if (info.has(4) || info.has(5))
    throw new Error('the SavedModel has a signature with a tensor that is not dense');
  const shape = messageIn(info, 3);
  return {
    name: textIn(info, 1),
    dtype: intIn(info, 2),
    shape: !info.has(3) || intIn(shape, 3) ? null : messagesIn(shape, 2).map((dim) => intIn(dim, 1)),
  };
}

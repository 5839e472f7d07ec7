/**
 * The program of a SavedModel, as its saved_model.pb holds it: its one graph with its functions, and what TensorFlow runs of it
 * when it loads it. Numbers of fields are those of TensorFlow's meta_graph.proto and of the files that it names.
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
  /** Tensors, in a graph `node` or `node:1`, and behind them the nodes that only come before, `^node`. */
  inputs: string[];
  /** Functions that it may call: those that its attributes name, at any depth, and what its operation would be the name of. */
  names: ReadonlySet<string>;
}

export interface GraphFunction {
  name: string;
  firstArgument: string | undefined;
  nodes: GraphNode[];
  /** TensorFlow may call it in the place of another function with the same attribute. */
  replaces: boolean;
}

export interface Port {
  name: string;
  dtype: number;
  /** Null where the rank is not known; -1 is a size that is not known. */
  shape: number[] | null;
}

export interface Program {
  nodes: GraphNode[];
  functions: GraphFunction[];
  /** The one that is served: its tensors by name. */
  signature: { inputs: ReadonlyMap<string, Port>; outputs: ReadonlyMap<string, Port> };
  /** TensorFlow runs `restore` with the place of the variables in the tensor `filename`; empty where there is none. */
  saver: { filename: string; restore: string };
  /** Whatever it may run after that. */
  initializers: string[];
}

const TAG = 'serve';
const SIGNATURE = 'serving_default';
const INITIALIZE = '__saved_model_init_op';
/** Where exports of old name what is run, and files of their own. */
const INITIALIZE_OF_OLD = ['saved_model_main_op', 'legacy_init_op'];
const ASSETS_OF_OLD = 'saved_model_assets';
const REPLACES = 'api_implements';

/** Of the graph and its functions together; a large model has a tenth of it. A few bytes may be a node. */
const MAX_NODES = 2 ** 18;

/** Throws what is wrong with it. */
export function parseProgram(bytes: Uint8Array): Program {
  const graphs = messagesIn(parseMessage(bytes), 2);
  const tags = graphs.map((each) => textsIn(messageIn(each, 1), 4).join(' '));
  const [graph] = graphs;
  // TensorFlow takes the first whose set of tags is the one that it is asked for: so there must be no other.
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
    signature: { inputs: portsOf(signature, 1), outputs: portsOf(signature, 2) },
    saver: { filename: textIn(saver, 1), restore: textIn(saver, 3) },
    initializers: initializersOf(signatures.get(INITIALIZE), mapIn(graph, 4)),
  };
}

/** TensorFlow looks into the collections where there is no signature for it only: looking at all of them is simpler, and safe. */
function initializersOf(signature: Message | undefined, collections: ReadonlyMap<string, Message>): string[] {
  const outputs = signature ? [...mapIn(signature, 2).values()] : [];
  const lists = INITIALIZE_OF_OLD.flatMap((key) => collections.get(key) ?? []);
  return [
    ...outputs.map((info) => textIn(info, 1)),
    ...lists.flatMap((collection) => textsIn(messageIn(collection, 1), 1)),
  ];
}

/** TensorFlow puts their paths into tensors that the model names, and these paths may lead anywhere. */
function demandNoAssets(graph: Message): void {
  if (graph.has(6) || mapIn(graph, 4).has(ASSETS_OF_OLD))
    throw new Error('the SavedModel has assets, files of its own that it reads, which is not allowed');
}

/** What the library and attributes in text say of gradients is not read: it is for Python, and for operations that are on no list. */
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

/** An attribute may name a function, or several, each with attributes for what it calls in turn. */
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
  // Their defaults could name functions; no export has them.
  if (declared.has(4))
    throw new Error(`the function ${name} of the SavedModel has parameters besides tensors`);
  const [first] = messagesIn(declared, 2);
  return {
    name,
    firstArgument: first && textIn(first, 1),
    replaces: mapIn(definition, 5).has(REPLACES),
  };
}

function portsOf(signature: Message, field: number): Map<string, Port> {
  return new Map([...mapIn(signature, field)].map(([name, info]) => [name, portOf(info)]));
}

function portOf(info: Message): Port {
  // Of several tensors, as a sparse one: readers do not agree on what its name is then.
  if (info.has(4) || info.has(5))
    throw new Error('the SavedModel has a signature with a tensor that is not dense');
  const shape = messageIn(info, 3);
  return {
    name: textIn(info, 1),
    dtype: intIn(info, 2),
    shape: !info.has(3) || intIn(shape, 3) ? null : messagesIn(shape, 2).map((dim) => intIn(dim, 1)),
  };
}

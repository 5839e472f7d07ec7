/**
 * The program of a SavedModel as its saved_model.pb holds it: its one graph with its functions, and the parts that TensorFlow
 * runs when it loads the model. Source: TensorFlow's saved_model.proto and the files that it imports.
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
} from '../protobuf.js';
import { FIELDS } from './fields.js';

export interface GraphNode {
  name: string;
  op: string;
  /** Tensors (`node` or `node:1` in a graph), then the nodes that only order execution (`^node`). */
  inputs: string[];
  /** Functions that the node may call: those that its attributes name at any depth, and its operation if a function has that name. */
  names: ReadonlySet<string>;
  /** Numbers of the types that its attributes name. */
  types: ReadonlySet<number>;
}

export interface GraphFunction {
  name: string;
  arguments: string[];
  nodes: GraphNode[];
  /** TensorFlow may call this function in place of another one with the same attribute. */
  replaces: boolean;
}

export interface SignatureTensor {
  name: string;
  dtype: number;
  /** Null when the rank is unknown; -1 is an unknown size. */
  shape: number[] | null;
  /** Readers disagree about the name of a tensor that consists of several, such as a sparse one. */
  isDense: boolean;
}

/** A signature as the file holds it: its tensors by name. */
export interface ProgramSignature {
  inputs: ReadonlyMap<string, SignatureTensor>;
  outputs: ReadonlyMap<string, SignatureTensor>;
}

/** A file of the version that TensorFlow names to the model: it puts the path in the tensor `place` when it loads the model. */
export interface Asset {
  /** Within the folder `assets`. */
  filename: string;
  place: string;
}

export interface Program {
  nodes: GraphNode[];
  functions: GraphFunction[];
  /** All signatures that may be served, by name. */
  signatures: ReadonlyMap<string, ProgramSignature>;
  assets: Asset[];
  /** TensorFlow runs `restore` with the place of the variables in the tensor `filename`. Both are empty without variables. */
  saver: { filename: string; restore: string };
  /** Nodes that TensorFlow may run after restoring. */
  initializers: string[];
}

const {
  SavedModel,
  MetaGraphDef,
  SaverDef,
  AssetFileDef,
  CollectionDef,
  SignatureDef,
  TensorInfo,
  TensorShapeProto,
  GraphDef,
  NodeDef,
  FunctionDefLibrary,
  FunctionDef,
  OpDef,
  AttrValue,
  NameAttrList,
} = FIELDS;
const MetaInfoDef = FIELDS['MetaGraphDef.MetaInfoDef'];
const NodeList = FIELDS['CollectionDef.NodeList'];
const AnyList = FIELDS['CollectionDef.AnyList'];
/** The message within a `google.protobuf.Any`. */
const ANY_VALUE = 2;
const Dim = FIELDS['TensorShapeProto.Dim'];
const ArgDef = FIELDS['OpDef.ArgDef'];
const ListValue = FIELDS['AttrValue.ListValue'];

const TAG = 'serve';
/** Names of signatures that nobody serves begin so. */
const INTERNAL = '__saved_model_';
const INITIALIZE = '__saved_model_init_op';
/** Collections in which old exports name nodes to run and files to read. */
const INITIALIZE_OF_OLD = ['saved_model_main_op', 'legacy_init_op'];
const ASSETS_OF_OLD = 'saved_model_assets';
const REPLACES = 'api_implements';

/** The most nodes of the graph and its functions together. A large model has a tenth of that; a hostile file fits a node in a few bytes. */
const MAX_NODES = 2 ** 18;
/** The most signatures. Each is followed through the whole graph. */
const MAX_SIGNATURES = 100;

/** Parses a saved_model.pb; throws an Error that says what is wrong with it. */
export function parseProgram(bytes: Uint8Array): Program {
  const graphs = messagesIn(parseMessage(bytes), SavedModel.meta_graphs);
  const tags = graphs.map((each) =>
    textsIn(messageIn(each, MetaGraphDef.meta_info_def), MetaInfoDef.tags).join(' '),
  );
  const [graph] = graphs;
  // TensorFlow picks the first graph with the wanted tags, so there must be exactly one graph.
  if (graphs.length !== 1 || tags[0] !== TAG || !graph)
    throw new Error(
      `the SavedModel must hold one graph, with the one tag "${TAG}"; it holds ${graphs.length}, tagged ${JSON.stringify(tags)}`,
    );
  const saver = messageIn(graph, MetaGraphDef.saver_def);
  const signatures = mapIn(graph, MetaGraphDef.signature_def);
  const served = [...signatures].filter(([name]) => !name.startsWith(INTERNAL));
  if (served.length > MAX_SIGNATURES)
    throw new Error(`the SavedModel has ${served.length} signatures, at most ${MAX_SIGNATURES} are read`);
  return {
    ...graphOf(messageIn(graph, MetaGraphDef.graph_def)),
    signatures: new Map(served.map(([name, each]) => [name, signatureOf(each)])),
    assets: assetsOf(graph),
    saver: {
      filename: textIn(saver, SaverDef.filename_tensor_name),
      restore: textIn(saver, SaverDef.restore_op_name),
    },
    initializers: initializersOf(signatures.get(INITIALIZE), mapIn(graph, MetaGraphDef.collection_def)),
  };
}

/** TensorFlow reads the collection of old exports only where the graph itself lists no assets. */
function assetsOf(graph: Message): Asset[] {
  const listed = messagesIn(graph, MetaGraphDef.asset_file_def);
  const collection = mapIn(graph, MetaGraphDef.collection_def).get(ASSETS_OF_OLD) ?? new Map();
  const packed = messagesIn(messageIn(collection, CollectionDef.any_list), AnyList.value);
  const assets = listed.length > 0 ? listed : packed.map((each) => messageIn(each, ANY_VALUE));
  return assets.map((asset) => ({
    filename: textIn(asset, AssetFileDef.filename),
    place: textIn(messageIn(asset, AssetFileDef.tensor_info), TensorInfo.name),
  }));
}

/** TensorFlow reads collections only where a signature is missing. This check reads all of them, which is simpler and safe. */
function initializersOf(signature: Message | undefined, collections: ReadonlyMap<string, Message>): string[] {
  const outputs = signature ? [...mapIn(signature, SignatureDef.outputs).values()] : [];
  const lists = INITIALIZE_OF_OLD.flatMap((key) => collections.get(key) ?? []);
  return [
    ...outputs.map((info) => textIn(info, TensorInfo.name)),
    ...lists.flatMap((collection) => textsIn(messageIn(collection, CollectionDef.node_list), NodeList.value)),
  ];
}

/** Gradient definitions of the library are not read: they serve Python, and operations that are refused. */
function graphOf(graph: Message): Pick<Program, 'nodes' | 'functions'> {
  let count = 0;
  const nodesIn = (message: Message, field: number): GraphNode[] => {
    const nodes = messagesIn(message, field);
    count += nodes.length;
    if (count > MAX_NODES) throw new Error(`the SavedModel is made of more than ${MAX_NODES} operations`);
    return nodes.map(nodeOf);
  };
  const nodes = nodesIn(graph, GraphDef.node);
  const functions = messagesIn(messageIn(graph, GraphDef.library), FunctionDefLibrary.function);
  return {
    nodes,
    functions: functions.map((each) => ({
      ...declarationOf(each),
      nodes: nodesIn(each, FunctionDef.node_def),
    })),
  };
}

function nodeOf(node: Message): GraphNode {
  const op = textIn(node, NodeDef.op);
  const attributes = [...mapIn(node, NodeDef.attr).values()];
  return {
    name: textIn(node, NodeDef.name),
    op,
    inputs: textsIn(node, NodeDef.input),
    names: new Set([op, ...functionsIn(attributes)]),
    types: new Set(attributes.map((value) => intIn(value, AttrValue.type))),
  };
}

/** An attribute may name one function or several, and each of those has attributes that name functions in turn. */
function functionsIn(attributes: readonly Message[]): string[] {
  const names: string[] = [];
  const left = [...attributes];
  for (let value = left.pop(); value; value = left.pop()) {
    const listed = messagesIn(value, AttrValue.list).flatMap((list) => messagesIn(list, ListValue.func));
    for (const named of [...messagesIn(value, AttrValue.func), ...listed]) {
      names.push(textIn(named, NameAttrList.name));
      left.push(...mapIn(named, NameAttrList.attr).values());
    }
  }
  return names;
}

function declarationOf(definition: Message): Omit<GraphFunction, 'nodes'> {
  const declared = messageIn(definition, FunctionDef.signature);
  const name = textIn(declared, OpDef.name);
  // Default attributes could name functions. No export has any, so they are refused.
  if (declared.has(OpDef.attr))
    throw new Error(`the function ${name} of the SavedModel has parameters besides tensors`);
  return {
    name,
    arguments: messagesIn(declared, OpDef.input_arg).map((each) => textIn(each, ArgDef.name)),
    replaces: mapIn(definition, FunctionDef.attr).has(REPLACES),
  };
}

function signatureOf(signature: Message): ProgramSignature {
  return {
    inputs: tensorsOf(signature, SignatureDef.inputs),
    outputs: tensorsOf(signature, SignatureDef.outputs),
  };
}

function tensorsOf(signature: Message, field: number): Map<string, SignatureTensor> {
  return new Map([...mapIn(signature, field)].map(([name, info]) => [name, tensorOf(info)]));
}

function tensorOf(info: Message): SignatureTensor {
  const shape = messageIn(info, TensorInfo.tensor_shape);
  const isUnknown = !info.has(TensorInfo.tensor_shape) || intIn(shape, TensorShapeProto.unknown_rank) !== 0;
  return {
    name: textIn(info, TensorInfo.name),
    dtype: intIn(info, TensorInfo.dtype),
    shape: isUnknown ? null : messagesIn(shape, TensorShapeProto.dim).map((dim) => intIn(dim, Dim.size)),
    isDense: !info.has(TensorInfo.coo_sparse) && !info.has(TensorInfo.composite_tensor),
  };
}

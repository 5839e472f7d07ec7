/**
 * A SavedModel as its saved_model.pb describes it: what goes in and out, and which operations it is made of. Read without
 * TensorFlow, so that a process which cannot run it knows what it takes.
 *
 * A SavedModel is a program: its operations can read and write files, call Python, open connections. What its serving
 * signature reaches, through functions too, must be on the list of operations that only compute; what loading runs (the
 * restore and initialisation operations) may besides put the variables in their place. What neither reaches is never run.
 */
import { readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Signature, TensorSpec } from '../contract/model.js';
import { COMPUTING_OPS, RESTORING_OPS } from './saved-model-ops.js';

/** Of TensorFlow's saved_model.proto, as far as it is read here. */
interface ProtoMap<V> {
  forEach(act: (value: V, key: string) => void): void;
  get(key: string): V | undefined;
}
interface AttrValue {
  hasFunc(): boolean;
  getFunc(): { getName(): string };
  getList(): { getFuncList(): { getName(): string }[] } | undefined;
}
interface NodeDef {
  getName(): string;
  getOp(): string;
  getInputList(): string[];
  getAttrMap(): ProtoMap<AttrValue>;
}
interface TensorInfo {
  getName(): string;
  getDtype(): number;
  getTensorShape(): { getDimList(): { getSize(): number }[]; getUnknownRank(): boolean } | undefined;
}
interface SignatureDef {
  getInputsMap(): ProtoMap<TensorInfo>;
  getOutputsMap(): ProtoMap<TensorInfo>;
}
interface GraphDef {
  getNodeList(): NodeDef[];
  getLibrary():
    | { getFunctionList(): { getSignature(): { getName(): string }; getNodeDefList(): NodeDef[] }[] }
    | undefined;
}
interface MetaGraphDef {
  getMetaInfoDef(): { getTagsList(): string[] } | undefined;
  getGraphDef(): GraphDef;
  getSaverDef(): { getRestoreOpName(): string } | undefined;
  getSignatureDefMap(): ProtoMap<SignatureDef>;
}

export const SAVED_MODEL_FILE = 'saved_model.pb';
/** Of the program alone, its variables are elsewhere: it is read whole, in one turn of the event loop. */
const MAX_GRAPH_BYTES = 32 * 1024 * 1024;
const TAGS = 'serve';
const SIGNATURE = 'serving_default';
const INITIALIZE = '__saved_model_init_op';
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
/** DataType of types.proto; others have no form on the wire or no way through the binding. */
const DTYPES: Readonly<Record<number, TensorSpec['dtype']>> = { 1: 'float32', 3: 'int32' };

/** The signature `serving_default`, without its batch dimension; throws when the program may not be run here. */
export async function readSavedModel(folder: string): Promise<Signature> {
  const path = join(folder, SAVED_MODEL_FILE);
  if ((await stat(path)).size > MAX_GRAPH_BYTES)
    throw new Error(`${SAVED_MODEL_FILE} is larger than ${MAX_GRAPH_BYTES} bytes`);
  const graph = parse(await readFile(path));
  const signatures = graph.getSignatureDefMap();
  const signature = signatures.get(SIGNATURE);
  if (!signature) throw new Error(`the SavedModel has no signature ${SIGNATURE}`);
  const read = { inputs: specsOf(signature.getInputsMap()), outputs: specsOf(signature.getOutputsMap()) };
  checkOperations(graph, signature);
  return read;
}

function parse(bytes: Buffer): MetaGraphDef {
  // Generated code without types; it needs nothing of TensorFlow itself.
  const messages = createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu/dist/proto/api_pb.js') as {
    SavedModel: { deserializeBinary(bytes: Uint8Array): { getMetaGraphsList(): MetaGraphDef[] } };
  };
  const graphs = messages.SavedModel.deserializeBinary(new Uint8Array(bytes)).getMetaGraphsList();
  const graph = graphs.find((each) => each.getMetaInfoDef()?.getTagsList().join() === TAGS);
  if (!graph) throw new Error(`the SavedModel has no graph with the one tag "${TAGS}"`);
  return graph;
}

function specsOf(infos: ProtoMap<TensorInfo>): TensorSpec[] {
  const specs: TensorSpec[] = [];
  infos.forEach((info, name) => void specs.push(specOf(name, info)));
  return specs.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function specOf(name: string, info: TensorInfo): TensorSpec {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no name for a tensor`);
  const dtype = DTYPES[info.getDtype()];
  if (!dtype) throw new Error(`${name} is neither float32 nor int32`);
  const shape = info.getTensorShape();
  if (!shape || shape.getUnknownRank()) throw new Error(`${name} has no known rank`);
  const [batch, ...sizes] = shape.getDimList().map((dim) => dim.getSize());
  if (batch !== -1) throw new Error(`${name} does not leave its first dimension to the batch`);
  return { name, dtype, shape: sizes.map((size) => (size < 0 ? null : size)) };
}

/** Throws, naming operations that are not allowed where they are. */
function checkOperations(meta: MetaGraphDef, signature: SignatureDef): void {
  const graph = meta.getGraphDef();
  const ports: string[] = [];
  signature.getInputsMap().forEach((info) => void ports.push(info.getName()));
  signature.getOutputsMap().forEach((info) => void ports.push(info.getName()));
  demand('its signature', operationsFrom(graph, ports), [COMPUTING_OPS]);

  const loading = [meta.getSaverDef()?.getRestoreOpName() ?? ''];
  meta
    .getSignatureDefMap()
    .get(INITIALIZE)
    ?.getOutputsMap()
    .forEach((info) => void loading.push(info.getName()));
  demand('its loading', operationsFrom(graph, loading), [COMPUTING_OPS, RESTORING_OPS]);
}

function demand(where: string, used: ReadonlySet<string>, allowed: readonly ReadonlySet<string>[]): void {
  const refused = [...used].filter((op) => !allowed.some((ops) => ops.has(op))).sort();
  if (refused.length > 0)
    throw new Error(`${where} uses operations that are not allowed: ${refused.join(', ')}`);
}

/** Of all nodes that some are computed from, control inputs and bodies of functions included. */
function operationsFrom(graph: GraphDef, names: readonly string[]): Set<string> {
  const nodes = new Map(graph.getNodeList().map((node) => [node.getName(), node]));
  const functions = new Map(
    (graph.getLibrary()?.getFunctionList() ?? []).map((each) => [
      each.getSignature().getName(),
      each.getNodeDefList(),
    ]),
  );
  const ops = new Set<string>();
  const seen = new Set<string>();
  const left: NodeDef[] = names.flatMap((name) => nodes.get(nodeOf(name)) ?? []);
  for (let node = left.pop(); node; node = left.pop()) {
    for (const called of functionsOf(node)) {
      if (seen.has(`function ${called}`)) continue;
      seen.add(`function ${called}`);
      left.push(...(functions.get(called) ?? []));
    }
    // A function may be called by its name, as if it were an operation.
    if (!functions.has(node.getOp())) ops.add(node.getOp());
    for (const input of node.getInputList().map(nodeOf)) {
      const before = nodes.get(input);
      if (!before || seen.has(input)) continue;
      seen.add(input);
      left.push(before);
    }
  }
  return ops;
}

function functionsOf(node: NodeDef): string[] {
  const called = [node.getOp()];
  node.getAttrMap().forEach((value) => {
    if (value.hasFunc()) called.push(value.getFunc().getName());
    for (const each of value.getList()?.getFuncList() ?? []) called.push(each.getName());
  });
  return called;
}

/** "^name" is a control input, "name:1" an output of the node. */
function nodeOf(input: string): string {
  return input.replace(/^\^/, '').replace(/:.*$/, '');
}

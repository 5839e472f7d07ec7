/**
 * Which operations the program of a SavedModel may have.
 *
 *   what the signature reaches                            computes
 *   what initialisation reaches                           computes, sets variables
 *   what restoring reaches                                computes, sets variables, reads the checkpoint of its own folder
 *   what nothing of these reaches, functions included     computes, trains; TensorFlow should never run it
 *   what saving alone reaches                             anything: it writes, and nobody saves
 *
 * Of restoring and initialisation TensorFlow's loader says which are run (tensorflow/cc/saved_model/loader.cc): the saver's restore
 * operation, fed with the path of the checkpoint, then the first of a signature and two collections. All of them are looked at.
 */
import { COMPUTING_OPS, RESTORING_OPS, SETTING_OPS, TRAINING_OPS } from './saved-model-ops.js';
import type { FunctionDef, GraphDef, MetaGraphDef, NodeDef, SignatureDef } from './saved-model-proto.js';

const INITIALIZE = '__saved_model_init_op';
const INITIALIZE_COLLECTIONS = ['saved_model_main_op', 'legacy_init_op'];
const RESTORE = 'RestoreV2';
const IMPLEMENTS = 'api_implements';

/** Throws, naming operations that are not allowed where they are. */
export function checkOperations(meta: MetaGraphDef, signature: SignatureDef): void {
  const program = indexed(meta.getGraphDef());
  const { nodes, functions } = program;
  const saver = meta.getSaverDef();
  const restore = saver?.getRestoreOpName() ?? '';
  const restored = reached(program, [restore]);
  const saved = reached(program, [saver?.getSaveTensorName() ?? '']);
  const bodies = [...functions.values()].flatMap((each) => each.getNodeDefList());
  const others = [...nodes.values(), ...bodies].filter((node) => !restored.has(node) && !saved.has(node));

  demand(program, 'its signature', reached(program, portsOf(signature)), [COMPUTING_OPS]);
  demand(program, 'its initialisation', reached(program, initializersOf(meta)), [COMPUTING_OPS, SETTING_OPS]);
  demand(program, 'its restoring', restored, [COMPUTING_OPS, RESTORING_OPS]);
  demand(program, 'its graph', others, [COMPUTING_OPS, TRAINING_OPS]);
  demandOwnCheckpoint(program, restored, nodeOf(saver?.getFilenameTensorName() ?? ''));
}

interface Program {
  nodes: ReadonlyMap<string, NodeDef>;
  functions: ReadonlyMap<string, FunctionDef>;
}

function indexed(graph: GraphDef): Program {
  const functions = graph.getLibrary()?.getFunctionList() ?? [];
  return {
    nodes: byName(graph.getNodeList(), (node) => node.getName()),
    functions: byName(functions, (each) => each.getSignature().getName()),
  };
}

function byName<T>(all: readonly T[], nameOf: (each: T) => string): Map<string, T> {
  const named = new Map(all.map((each) => [nameOf(each), each]));
  if (named.size < all.length) throw new Error('the SavedModel has several nodes or functions of one name');
  return named;
}

function portsOf(signature: SignatureDef): string[] {
  const ports: string[] = [];
  signature.getInputsMap().forEach((info) => void ports.push(info.getName()));
  signature.getOutputsMap().forEach((info) => void ports.push(info.getName()));
  return ports;
}

function initializersOf(meta: MetaGraphDef): string[] {
  const signature = meta.getSignatureDefMap().get(INITIALIZE);
  const collections = INITIALIZE_COLLECTIONS.flatMap(
    (name) => meta.getCollectionDefMap().get(name)?.getNodeList()?.getValueList() ?? [],
  );
  return [...(signature ? portsOf(signature) : []), ...collections];
}

function demand(
  { functions }: Program,
  where: string,
  used: Iterable<NodeDef>,
  allowed: readonly ReadonlySet<string>[],
): void {
  // A function may be called by its name, as if it were an operation.
  const ops = new Set([...used].map((node) => node.getOp()).filter((op) => !functions.has(op)));
  const refused = [...ops].filter((op) => !allowed.some((each) => each.has(op))).sort();
  if (refused.length > 0)
    throw new Error(`${where} uses operations that are not allowed: ${refused.join(', ')}`);
}

/**
 * A checkpoint is read from where TensorFlow says that it lies, not from a path that the model states: the file's name comes
 * straight from the saver's tensor, or through the first argument of a function that is given it.
 */
function demandOwnCheckpoint({ nodes, functions }: Program, restored: Set<NodeDef>, filename: string): void {
  const own = new Set<NodeDef>();
  const isGiven = (node: NodeDef, name: string) => nodeOf(node.getInputList()[0] ?? '') === name;
  for (const node of nodes.values()) {
    if (!restored.has(node) || !isGiven(node, filename)) continue;
    own.add(node);
    for (const name of calledBy(node)) {
      const called = functions.get(name);
      const [first] = called?.getSignature().getInputArgList() ?? [];
      if (!called || !first || first.getNumberAttr() !== '' || first.getTypeListAttr() !== '') continue;
      for (const inner of called.getNodeDefList()) if (isGiven(inner, first.getName())) own.add(inner);
    }
  }
  for (const node of restored)
    if (node.getOp() === RESTORE && !own.has(node))
      throw new Error('its restoring reads another checkpoint than its own');
}

/** All nodes that some are computed from, control inputs and bodies of functions included. */
function reached(program: Program, names: readonly string[]): Set<NodeDef> {
  const { nodes } = program;
  const all = new Set<NodeDef>();
  const left: NodeDef[] = names.flatMap((name) => nodes.get(nodeOf(name)) ?? []);
  for (let node = left.pop(); node; node = left.pop()) {
    if (all.has(node)) continue;
    all.add(node);
    for (const called of calledBy(node)) left.push(...bodiesOf(program, called));
    // In a function's body the name is of another of its nodes, all of which are there; one of the graph does no harm.
    for (const input of node.getInputList())
      left.push(...[nodes.get(nodeOf(input))].flatMap((each) => each ?? []));
  }
  return all;
}

/** TensorFlow puts a function in the place of another that says to be an implementation of the same. */
function bodiesOf({ functions }: Program, name: string): NodeDef[] {
  const called = functions.get(name);
  if (!called) return [];
  const same = implementationOf(called);
  const others = same === '' ? [] : [...functions.values()].filter((each) => implementationOf(each) === same);
  return [called, ...others].flatMap((each) => each.getNodeDefList());
}

function implementationOf(each: FunctionDef): string {
  const said = each.getAttrMap().get(IMPLEMENTS)?.getS_asU8() ?? new Uint8Array();
  return Buffer.from(said).toString('latin1');
}

function calledBy(node: NodeDef): string[] {
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

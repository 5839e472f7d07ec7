/**
 * A SavedModel as its saved_model.pb describes it: what goes in and out, and which operations it is made of. Read without
 * TensorFlow, so that a process which cannot run it knows what it takes.
 *
 * A SavedModel is a program: its operations can read and write files, call Python, open connections. It is refused unless all that
 * may be run of it only computes (saved-model-check.ts).
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../base/disk.js';
import type { Signature, TensorSpec } from '../contract/model.js';
import { checkOperations } from './saved-model-check.js';
import { type MetaGraphDef, type ProtoMap, parseSavedModel, type TensorInfo } from './saved-model-proto.js';

export const SAVED_MODEL_FILE = 'saved_model.pb';
/** Forms of the same that TensorFlow might read instead. */
const OTHER_FILES = ['saved_model.cpb', 'saved_model.pbtxt'];
/** Of the program alone, its variables are elsewhere: it is read whole, in one turn of the event loop. */
const MAX_GRAPH_BYTES = 32 * 1024 * 1024;
const TAGS = 'serve';
const SIGNATURE = 'serving_default';
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
/** DataType of types.proto; others have no form on the wire or no way through the binding. */
const DTYPES: Readonly<Record<number, TensorSpec['dtype']>> = { 1: 'float32', 3: 'int32' };

/** The signature `serving_default`, without its batch dimension; throws when the program may not be run here. */
export async function readSavedModel(folder: string): Promise<Signature> {
  const path = join(folder, SAVED_MODEL_FILE);
  if ((await stat(path)).size > MAX_GRAPH_BYTES)
    throw new Error(`${SAVED_MODEL_FILE} is larger than ${MAX_GRAPH_BYTES} bytes`);
  for (const other of OTHER_FILES)
    if (await exists(join(folder, other)))
      throw new Error(`${other} beside ${SAVED_MODEL_FILE} is not read here`);
  const graph = onlyGraph(await readFile(path));
  const signatures = graph.getSignatureDefMap();
  const signature = signatures.get(SIGNATURE);
  if (!signature) throw new Error(`the SavedModel has no signature ${SIGNATURE}`);
  const read = { inputs: specsOf(signature.getInputsMap()), outputs: specsOf(signature.getOutputsMap()) };
  checkOperations(graph, signature);
  return read;
}

/** TensorFlow takes the first whose tags are these as a set: more than one would have it run what was not looked at. */
function onlyGraph(bytes: Buffer): MetaGraphDef {
  const graphs = parseSavedModel(bytes);
  const [graph] = graphs;
  if (!graph || graphs.length > 1 || graph.getMetaInfoDef()?.getTagsList().join() !== TAGS)
    throw new Error(`the SavedModel has not just one graph, with the one tag "${TAGS}"`);
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

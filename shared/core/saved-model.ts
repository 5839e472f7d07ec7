/**
 * A SavedModel as its saved_model.pb describes it: what goes in and out, and that it may be run. Read without TensorFlow, so
 * that a process which cannot run it knows what it takes.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../base/disk.js';
import type { Signature, TensorSpec } from '../contract/model.js';
import { checkProgram } from './saved-model-check.js';
import { type Port, parseProgram } from './saved-model-program.js';

export const SAVED_MODEL_FILE = 'saved_model.pb';
/** Other forms of the same file, which TensorFlow reads where it finds no saved_model.pb. */
const OTHER_FILES = ['saved_model.cpb', 'saved_model.pbtxt'];
/** Of the program alone, its variables are elsewhere: it is read whole, in one turn of the event loop. */
const MAX_GRAPH_BYTES = 32 * 1024 * 1024;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
/** DataType of types.proto; others have no form on the wire or no way through the binding. */
const DTYPES: Readonly<Record<number, TensorSpec['dtype']>> = { 1: 'float32', 3: 'int32' };

/** The signature `serving_default`, without its batch dimension; throws when the program may not be run here. */
export async function readSavedModel(folder: string): Promise<Signature> {
  for (const other of OTHER_FILES)
    if (await exists(join(folder, other)))
      throw new Error(`${other} is beside ${SAVED_MODEL_FILE}: one of them is to be loaded`);
  const path = join(folder, SAVED_MODEL_FILE);
  if ((await stat(path)).size > MAX_GRAPH_BYTES)
    throw new Error(`${SAVED_MODEL_FILE} is larger than ${MAX_GRAPH_BYTES} bytes`);
  const program = parseProgram(await readFile(path));
  const { inputs, outputs } = program.signature;
  const read = { inputs: specsOf(inputs), outputs: specsOf(outputs) };
  checkProgram(program);
  return read;
}

function specsOf(ports: ReadonlyMap<string, Port>): TensorSpec[] {
  return [...ports].map(([name, port]) => specOf(name, port)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function specOf(name: string, { dtype: type, shape }: Port): TensorSpec {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no name for a tensor`);
  const dtype = DTYPES[type];
  if (!dtype) throw new Error(`${name} is neither float32 nor int32`);
  if (!shape) throw new Error(`${name} has no known rank`);
  const [batch, ...sizes] = shape;
  if (batch !== -1) throw new Error(`${name} does not leave its first dimension to the batch`);
  return { name, dtype, shape: sizes.map((size) => (size < 0 ? null : size)) };
}

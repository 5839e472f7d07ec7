/**
 * Reads from a saved_model.pb which tensors go in and out, and checks that the model may run. It needs no TensorFlow, so a
 * process that cannot run the model still knows its signature.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../base/disk.js';
import type { Signature, TensorSpec } from '../../contract/model.js';
import type { Dtype } from '../../contract/tensors/tensor.js';
import { checkProgram } from './check.js';
import { parseProgram, type TensorInfo } from './program.js';

export const SAVED_MODEL_FILE = 'saved_model.pb';
/** Other names of the same file, which TensorFlow reads when there is no saved_model.pb. */
const OTHER_FILES = ['saved_model.cpb', 'saved_model.pbtxt'];
/** The largest program, without its variables. It is read whole, in one turn of the event loop. */
const MAX_GRAPH_BYTES = 32 * 1024 * 1024;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
/** The name of a tensor: an operation, and the index of its output. */
const PLACE = /^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*:\d+$/;

/** The numbers of DataType in TensorFlow's types.proto that have a form on the wire. */
export const TF_TYPES = {
  float32: 1,
  float64: 2,
  int32: 3,
  uint8: 4,
  int64: 9,
  bool: 10,
  bfloat16: 14,
  float16: 19,
} as const;

const OTHER_TYPES: Readonly<Record<number, string>> = {
  5: 'int16',
  6: 'int8',
  7: 'string',
  8: 'complex64',
  17: 'uint16',
  18: 'complex128',
  20: 'resource',
  22: 'uint32',
  23: 'uint64',
};

/** The dtype under which each type travels. */
const DTYPES: Readonly<Record<keyof typeof TF_TYPES, Dtype>> = {
  float32: 'float32',
  float64: 'float32',
  bfloat16: 'float32',
  float16: 'float32',
  int32: 'int32',
  int64: 'int32',
  uint8: 'uint8',
  bool: 'uint8',
};
const DTYPE_BY_TYPE = new Map<number, Dtype>(
  Object.entries(DTYPES).map(([name, dtype]) => [TF_TYPES[name as keyof typeof TF_TYPES], dtype]),
);

export interface SavedModel {
  /** The signature `serving_default`, without the batch dimension. */
  signature: Signature;
  /** Place in the graph and type of each tensor, by name. */
  inputs: ReadonlyMap<string, TensorInfo>;
  outputs: ReadonlyMap<string, TensorInfo>;
}

/**
 * Reads the SavedModel in `folder`.
 * @throws Error that says why the program may not run here.
 */
export async function readSavedModel(folder: string): Promise<SavedModel> {
  for (const other of OTHER_FILES)
    if (await exists(join(folder, other)))
      throw new Error(`${other} is beside ${SAVED_MODEL_FILE}: one of them is to be loaded`);
  const path = join(folder, SAVED_MODEL_FILE);
  if ((await stat(path)).size > MAX_GRAPH_BYTES)
    throw new Error(`${SAVED_MODEL_FILE} is larger than ${MAX_GRAPH_BYTES} bytes`);
  const program = parseProgram(await readFile(path));
  const { inputs, outputs } = program.signature;
  const signature = { inputs: specsOf(inputs), outputs: specsOf(outputs) };
  checkProgram(program);
  return { signature, inputs, outputs };
}

function specsOf(ports: ReadonlyMap<string, TensorInfo>): TensorSpec[] {
  return [...ports].map(([name, port]) => specOf(name, port)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function specOf(name: string, { name: place, dtype: type, shape }: TensorInfo): TensorSpec {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no name for a tensor`);
  if (!PLACE.test(place)) throw new Error(`${name} is at no place of the graph: ${JSON.stringify(place)}`);
  const dtype = DTYPE_BY_TYPE.get(type);
  if (!dtype)
    throw new Error(
      `${name} is ${OTHER_TYPES[type] ?? `of type ${type}`}; a SavedModel may take and give ${Object.keys(TF_TYPES).join(', ')}`,
    );
  if (!shape) throw new Error(`${name} has no known rank`);
  const [batch, ...sizes] = shape;
  if (batch !== -1) throw new Error(`${name} does not leave its first dimension to the batch`);
  return { name, dtype, shape: sizes.map((size) => (size < 0 ? null : size)) };
}

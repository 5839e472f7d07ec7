/**
 * Reads from a saved_model.pb which tensors go in and out, and checks that the model may run. It needs no TensorFlow, so a
 * process that cannot run the model still knows its signature.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../base/disk.js';
import type { Signature, TensorSpec } from '../../contract/models/manifest.js';
import type { Dtype } from '../../contract/tensors/tensor.js';
import { checkProgram } from './check.js';
import { DATA_TYPES } from './fields.js';
import { parseProgram, type SignatureTensor } from './program.js';

export const SAVED_MODEL_FILE = 'saved_model.pb';
/** Other names of the same file, which TensorFlow reads when there is no saved_model.pb. */
const OTHER_FILES = ['saved_model.cpb', 'saved_model.pbtxt'];
/** The largest program, without its variables. It is read whole, in one turn of the event loop. */
const MAX_GRAPH_BYTES = 32 * 1024 * 1024;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
/** The name of a tensor: an operation, and the index of its output. */
const PLACE = /^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*:\d+$/;

/** TensorFlow's numbers of the types that Sluice has a form for. */
export const TF_TYPES = {
  float32: DATA_TYPES.DT_FLOAT,
  float64: DATA_TYPES.DT_DOUBLE,
  int32: DATA_TYPES.DT_INT32,
  uint8: DATA_TYPES.DT_UINT8,
  int64: DATA_TYPES.DT_INT64,
  bool: DATA_TYPES.DT_BOOL,
  bfloat16: DATA_TYPES.DT_BFLOAT16,
  float16: DATA_TYPES.DT_HALF,
} as const;

/** The dtype under which each type travels. */
const DTYPES: Readonly<Record<keyof typeof TF_TYPES, Dtype>> = {
  float32: 'float32',
  float64: 'float32',
  bfloat16: 'float32',
  float16: 'float32',
  int32: 'int32',
  int64: 'int32',
  uint8: 'uint8',
  bool: 'bool',
};
const DTYPE_BY_TYPE = new Map<number, Dtype>(
  Object.entries(DTYPES).map(([name, dtype]) => [TF_TYPES[name as keyof typeof TF_TYPES], dtype]),
);

export interface SavedModel {
  /** The signature `serving_default`, without the batch dimension. */
  signature: Signature;
  /** Place in the graph and type of each tensor, by name. */
  inputs: ReadonlyMap<string, SignatureTensor>;
  outputs: ReadonlyMap<string, SignatureTensor>;
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

function specsOf(ports: ReadonlyMap<string, SignatureTensor>): TensorSpec[] {
  return [...ports].map(([name, port]) => specOf(name, port)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function specOf(name: string, { name: place, dtype: type, shape }: SignatureTensor): TensorSpec {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no name for a tensor`);
  if (!PLACE.test(place)) throw new Error(`${name} is at no place of the graph: ${JSON.stringify(place)}`);
  const dtype = DTYPE_BY_TYPE.get(type);
  if (!dtype)
    throw new Error(
      `${name} is ${typeName(type)}; a SavedModel may take and give ${Object.keys(TF_TYPES).join(', ')}`,
    );
  if (!shape) throw new Error(`${name} has no known rank`);
  const [batch, ...sizes] = shape;
  if (batch !== -1) throw new Error(`${name} does not leave its first dimension to the batch`);
  return { name, dtype, shape: sizes.map((size) => (size < 0 ? null : size)) };
}

/** The name of a type that Sluice has no form for, such as `string`. */
function typeName(type: number): string {
  const [name] = Object.entries(DATA_TYPES).find(([, number]) => number === type) ?? [];
  return name ? name.replace('DT_', '').toLowerCase() : `of type ${type}`;
}

/**
 * Reads from a saved_model.pb which tensors go in and out, and checks that the model may run. It needs no TensorFlow, so a
 * process that cannot run the model still knows its signature.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../base/disk.js';
import { DEFAULT_SIGNATURE, type Manifest } from '../../contract/models/manifest.js';
import { isContainedPath } from '../../contract/models/package-path.js';
import { DTYPES, type Dtype } from '../../contract/tensors/dtypes.js';
import type { Port, Ports } from '../ports.js';
import { onlyComputes, programFaults } from './check.js';
import { DATA_TYPES } from './fields.js';
import { type Asset, type ProgramSignature, parseProgram, type SignatureTensor } from './program.js';

export const SAVED_MODEL_FILE = 'saved_model.pb';
/** Other names of the same file, which TensorFlow reads when there is no saved_model.pb. */
const OTHER_FILES = ['saved_model.cpb', 'saved_model.pbtxt'];
/** The largest program, without its variables. It is read whole, in one turn of the event loop. */
const MAX_GRAPH_BYTES = 32 * 1024 * 1024;
/** The name of a tensor: an operation, and the index of its output. */
const PLACE = /^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*:\d+$/;

/** TensorFlow's numbers of the types that Sluice has a form for. */
export const TF_TYPES = {
  float32: DATA_TYPES.DT_FLOAT,
  float64: DATA_TYPES.DT_DOUBLE,
  int8: DATA_TYPES.DT_INT8,
  int16: DATA_TYPES.DT_INT16,
  int32: DATA_TYPES.DT_INT32,
  int64: DATA_TYPES.DT_INT64,
  uint8: DATA_TYPES.DT_UINT8,
  uint16: DATA_TYPES.DT_UINT16,
  uint32: DATA_TYPES.DT_UINT32,
  uint64: DATA_TYPES.DT_UINT64,
  bool: DATA_TYPES.DT_BOOL,
  string: DATA_TYPES.DT_STRING,
  bfloat16: DATA_TYPES.DT_BFLOAT16,
  float16: DATA_TYPES.DT_HALF,
} as const satisfies Record<Dtype, number> & Record<string, number>;

/** The dtype under which each of TensorFlow's types travels, by its number. The narrow floats travel as float32. */
export const DTYPE_BY_TYPE: ReadonlyMap<number, Dtype> = new Map(
  Object.entries(TF_TYPES).map(([name, number]) => [
    number,
    DTYPES.find((each) => each === name) ?? 'float32',
  ]),
);

/** A tensor of a SavedModel: its place in the graph, and TensorFlow's number of its type. */
export interface SavedModelPort extends Port {
  place: string;
  number: number;
}

export interface SavedModelPorts extends Ports {
  inputs: readonly SavedModelPort[];
  outputs: readonly SavedModelPort[];
}

export interface SavedModel {
  /** The signature that is served where a job names none: the one that was asked for, `serving_default`, or the only one. */
  signatureName: string;
  /** All signatures that only compute, the served one among them. */
  signatures: ReadonlyMap<string, SavedModelPorts>;
}

export interface InspectedSavedModel extends Omit<SavedModel, 'signatureName'> {
  /** Null where none can be chosen, which is a fault. */
  signatureName: string | null;
  /** Everything for which the program may not run here. */
  faults: string[];
}

/** The part of a model.yaml about the program: the signature to serve, and whether it may answer the same input unlike. */
export type SaidOfProgram = Pick<Partial<Manifest>, 'signatureName' | 'stateful'>;

/**
 * Reads the SavedModel in `folder`.
 * @throws Error with every reason for which the program may not run here.
 */
export async function readSavedModel(folder: string, said: SaidOfProgram = {}): Promise<SavedModel> {
  const { signatureName, signatures, faults } = await inspectSavedModel(folder, said);
  if (faults.length > 0 || signatureName === null) throw new Error(faults.join('; '));
  return { signatureName, signatures };
}

/** Does the same, and returns the reasons. @throws Error for a file that is no SavedModel. */
export async function inspectSavedModel(folder: string, said: SaidOfProgram): Promise<InspectedSavedModel> {
  for (const other of OTHER_FILES)
    if (await exists(join(folder, other)))
      throw new Error(`${other} is beside ${SAVED_MODEL_FILE}: one of them is to be loaded`);
  const path = join(folder, SAVED_MODEL_FILE);
  if ((await stat(path)).size > MAX_GRAPH_BYTES)
    throw new Error(
      `${SAVED_MODEL_FILE} is larger than ${MAX_GRAPH_BYTES} bytes, because weights are constants in it: export the model itself, whose weights are variables in files of their own, or as ONNX`,
    );
  const program = parseProgram(await readFile(path));
  const choice = chooseSignature([...program.signatures.keys()], said.signatureName);
  const served = program.signatures.get(choice.name ?? '') ?? null;
  const options = { stateful: said.stateful === 'allow' };
  const faults = [
    ...(choice.fault ? [choice.fault] : []),
    ...programFaults(program, served, options),
    ...(await missingAssets(folder, program.assets)),
  ];
  // A program with faults is not looked at further; two nodes of one name could not be told apart.
  const offered = [...program.signatures].filter(
    ([, each]) => each === served || (faults.length === 0 && onlyComputes(program, each, options)),
  );
  const signatures = new Map(offered.map(([name, each]) => [name, portsOf(each)]));
  return { signatureName: choice.name, signatures, faults };
}

/** TensorFlow joins the name to the folder as it stands, so a name with `..` would leave it. */
async function missingAssets(folder: string, assets: readonly Asset[]): Promise<string[]> {
  const missing: string[] = [];
  for (const filename of new Set(assets.map((each) => each.filename))) {
    const path = `assets/${filename}`;
    if (!isContainedPath(path) || !(await exists(join(folder, path))))
      missing.push(`the SavedModel reads the asset ${path}, which is no file of the version`);
  }
  return missing;
}

/** Never chooses among several by chance. */
function chooseSignature(names: readonly string[], chosen?: string): { name: string | null; fault?: string } {
  const listed = names.map((name) => JSON.stringify(name)).join(', ');
  if (names.length === 0)
    return {
      name: null,
      fault:
        'the SavedModel has no signature; export one: tf.saved_model.save(model, folder, signatures=a_function_with_an_input_signature), or model.export(folder) of Keras',
    };
  if (chosen !== undefined)
    return names.includes(chosen)
      ? { name: chosen }
      : { name: null, fault: `the SavedModel has no signature ${JSON.stringify(chosen)}; it has ${listed}` };
  if (names.includes(DEFAULT_SIGNATURE)) return { name: DEFAULT_SIGNATURE };
  if (names.length === 1) return { name: names[0] as string };
  return {
    name: null,
    fault: `the SavedModel has the signatures ${listed} and no ${DEFAULT_SIGNATURE}; choose one by \`signatureName\` in model.yaml`,
  };
}

function portsOf({ inputs, outputs }: ProgramSignature): SavedModelPorts {
  const sorted = (ports: ReadonlyMap<string, SignatureTensor>) =>
    [...ports].map(([name, port]) => portOf(name, port)).sort((a, b) => (a.name < b.name ? -1 : 1));
  return { inputs: sorted(inputs), outputs: sorted(outputs) };
}

function portOf(
  name: string,
  { name: place, dtype: number, shape, isDense }: SignatureTensor,
): SavedModelPort {
  const isPlaced = isDense && PLACE.test(place);
  const misplaced = isDense ? 'at no place of the graph' : 'no dense tensor';
  return {
    name,
    dtype: (isPlaced && DTYPE_BY_TYPE.get(number)) || null,
    type: isPlaced ? typeName(number) : misplaced,
    shape,
    place,
    number,
  };
}

/** The name of a type as TensorFlow's users know it, such as `string`. */
function typeName(type: number): string {
  const [name] = Object.entries(DATA_TYPES).find(([, number]) => number === type) ?? [];
  const known = Object.entries(TF_TYPES).find(([, number]) => number === type)?.[0];
  return known ?? (name ? name.replace('DT_', '').toLowerCase() : `of type ${type}`);
}

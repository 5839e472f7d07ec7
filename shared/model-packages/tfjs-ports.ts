/**
 * The tensors of a tfjs model as its model.json declares them: the signature that the converter writes, else the inputs alone.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Manifest } from '../contract/models/manifest.js';
import { isTfjsDtype, type TfjsDtype } from '../contract/tensors/dtypes.js';
import { type Port, withRows } from './ports.js';
import { DATA_TYPES } from './saved-model/fields.js';
import { TF_TYPES } from './saved-model/signature.js';

export interface TfjsPorts {
  inputs: readonly Port[];
  /** Null where the file does not tell their shapes. */
  outputs: readonly Port[] | null;
}

export interface GraphPort extends Port {
  /** The tensor in the graph: `Identity_2:0`. */
  tensor: string;
}

type Json = Record<string, unknown>;

/** The dtype that a tensor of each of TensorFlow's types has in TensorFlow.js, by the type's number. */
const TFJS_DTYPES: ReadonlyMap<number, TfjsDtype> = new Map([
  ...([TF_TYPES.float32, TF_TYPES.float64, TF_TYPES.float16, TF_TYPES.bfloat16] as const).map(
    (type) => [type, 'float32'] as const,
  ),
  ...([TF_TYPES.int32, TF_TYPES.int64] as const).map((type) => [type, 'int32'] as const),
  [TF_TYPES.uint8, 'uint8'],
  [TF_TYPES.bool, 'bool'],
]);

export const MODEL_FILE = 'model.json';

/**
 * Returns what stands in the model.json of a folder.
 * @throws Error that names the file, where it holds no JSON object.
 */
export async function readModelFile(folder: string): Promise<Json> {
  const model = parsed(await readFile(join(folder, MODEL_FILE), 'utf8'));
  if (typeof model !== 'object' || model === null)
    throw new Error(`${MODEL_FILE} is no JSON object: it may have been cut off, or be another file`);
  return model;
}

/** Returns what model.json declares; null where it declares nothing, or is not JSON, which others report. */
export async function readTfjsPorts(folder: string, format: unknown): Promise<TfjsPorts | null> {
  const model = await readFile(join(folder, MODEL_FILE), 'utf8').then(
    (text) => parsed(text),
    () => null,
  );
  if (!model) return null;
  return format === ('graph' satisfies Manifest['format']) ? portsOfGraph(model) : portsOfLayers(model);
}

/** Returns the signature that a model.json holds; null for a file without one. */
export function graphSignature(model: unknown): { inputs: GraphPort[]; outputs: GraphPort[] } | null {
  // Converters of old wrote it elsewhere.
  const signature = field(model, 'signature') ?? field(field(model, 'userDefinedMetadata'), 'signature');
  const [inputs, outputs] = ['inputs', 'outputs'].map((kind) => entriesOf(field(signature, kind)));
  if (!inputs || !outputs || outputs.length === 0) return null;
  const isFed = ([, info]: [string, unknown]) => field(info, 'resourceId') === undefined;
  return { inputs: inputs.filter(isFed).map(toPort), outputs: outputs.map(toPort) };
}

function portsOfGraph(model: Json): TfjsPorts | null {
  const signature = graphSignature(model);
  if (signature && signature.inputs.length > 0) {
    // A scalar and a shape that the converter did not know are written alike, and few outputs are scalars.
    const isTold = ({ shape }: Port) => shape !== null && shape.length > 0;
    const { inputs, outputs } = signature;
    return { inputs, outputs: outputs.every(isTold) ? withRows(inputs, outputs) : null };
  }
  const nodes = field(field(model, 'modelTopology'), 'node');
  const placeholders = listOf(nodes).filter((node) => field(node, 'op') === 'Placeholder');
  const inputs = placeholders.map((node) => {
    const attributes = field(node, 'attr');
    const name = String(field(node, 'name'));
    const shape = field(field(attributes, 'shape'), 'shape');
    return portOf(name, name, field(field(attributes, 'dtype'), 'type'), shape);
  });
  return inputs.length > 0 ? { inputs, outputs: null } : null;
}

/** A layers model gives the whole shape of its input in the first layers, under a name that changed with Keras 3. */
function portsOfLayers(model: Json): TfjsPorts | null {
  const topology = field(model, 'modelTopology');
  const config = field(field(topology, 'model_config') ?? topology, 'config');
  const layers = Array.isArray(config) ? config : listOf(field(config, 'layers'));
  const inputs = layers.flatMap((layer): Port[] => {
    const own = field(layer, 'config');
    const shape = field(own, 'batch_input_shape') ?? field(own, 'batch_shape');
    if (!Array.isArray(shape)) return [];
    const name = String(field(own, 'name'));
    const type = ['int32', 'string'].find((each) => each === field(own, 'dtype')) ?? 'float32';
    return [
      { name, dtype: isTfjsDtype(type) ? type : null, type, shape: shape.map((size) => Number(size ?? -1)) },
    ];
  });
  return inputs.length > 0 ? { inputs, outputs: null } : null;
}

function toPort([name, info]: [string, unknown]): GraphPort {
  return portOf(name, String(field(info, 'name') ?? name), field(info, 'dtype'), field(info, 'tensorShape'));
}

function portOf(name: string, tensor: string, type: unknown, shape: unknown): GraphPort {
  const number = typeof type === 'string' ? DATA_TYPES[type as keyof typeof DATA_TYPES] : Number(type);
  const isUnknown = typeof shape !== 'object' || shape === null || field(shape, 'unknownRank') === true;
  return {
    name,
    tensor,
    aliases: [withoutIndex(name), tensor, withoutIndex(tensor)],
    dtype: TFJS_DTYPES.get(number) ?? null,
    type: String(type).replace('DT_', '').toLowerCase(),
    shape: isUnknown ? null : listOf(field(shape, 'dim')).map((dim) => Number(field(dim, 'size') ?? -1)),
  };
}

/** TensorFlow writes the first tensor of an operation as `name` and as `name:0`. */
function withoutIndex(name: string): string {
  return name.replace(/:0$/, '');
}

function parsed(text: string): Json | null {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return null;
  }
}

function entriesOf(value: unknown): [string, unknown][] | null {
  return typeof value === 'object' && value !== null ? Object.entries(value) : null;
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Json)[name]
    : undefined;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/**
 * Reads from an ONNX file which tensors go in and out, and checks that the model may run. It needs no ONNX Runtime, so a
 * process that cannot run the model still knows its signature.
 */
import { join } from 'node:path';
import { messageOf } from '../../base/errors.js';
import type { Dtype } from '../../contract/tensors/dtypes.js';
import { type Port, type Ports, withRows } from '../ports.js';
import { intIn, type Message, messageIn, messagesIn, parseMessage, textIn } from '../protobuf.js';
import { ONNX_FIELDS, ONNX_TYPES } from './fields.js';
import { outlineOf } from './outline.js';
import { programFaultsOf, type SaidOfOnnx, tensorNamesIn } from './program.js';

const { ModelProto, GraphProto, ValueInfoProto, TypeProto, TensorShapeProto } = ONNX_FIELDS;

/** The types that Sluice has a form for, by the names of ONNX Runtime. */
const TYPES = {
  float32: ONNX_TYPES.FLOAT,
  float64: ONNX_TYPES.DOUBLE,
  int8: ONNX_TYPES.INT8,
  int16: ONNX_TYPES.INT16,
  int32: ONNX_TYPES.INT32,
  int64: ONNX_TYPES.INT64,
  uint8: ONNX_TYPES.UINT8,
  uint16: ONNX_TYPES.UINT16,
  uint32: ONNX_TYPES.UINT32,
  uint64: ONNX_TYPES.UINT64,
  bool: ONNX_TYPES.BOOL,
  string: ONNX_TYPES.STRING,
  float16: ONNX_TYPES.FLOAT16,
} as const satisfies Record<Dtype, number> & Record<string, number>;
export type OnnxType = keyof typeof TYPES;

/** A tensor of an ONNX file; its type is null where Sluice has no form for it. */
export interface OnnxPort extends Port {
  onnxType: OnnxType | null;
}

export interface InspectedOnnx extends Ports {
  inputs: readonly OnnxPort[];
  outputs: readonly OnnxPort[];
  /** Everything for which the model may not run here. */
  faults: string[];
}

/**
 * Reads the ONNX file `entry` in `folder`.
 * @throws Error for a file that is no ONNX model.
 */
export function inspectOnnx(folder: string, entry: string, said: SaidOfOnnx): InspectedOnnx {
  const model = modelIn(join(folder, entry));
  const graph = messageIn(model, ModelProto.graph);
  // Before version 4 of the format each weight was an input, too.
  const weights = tensorNamesIn(graph);
  const inputs = portsIn(graph, GraphProto.input).filter(({ name }) => !weights.has(name));
  const outputs = portsIn(graph, GraphProto.output);
  if (outputs.length === 0) throw new Error('the file is no ONNX model: it has no graph with outputs');
  return { inputs, outputs: withRows(inputs, outputs), faults: programFaultsOf(model, said) };
}

function modelIn(path: string): Message {
  try {
    return parseMessage(outlineOf(path));
  } catch (error) {
    throw new Error(`the file is no ONNX model: ${messageOf(error)}`);
  }
}

function portsIn(graph: Message, field: number): OnnxPort[] {
  return messagesIn(graph, field).map((info) => {
    const type = messageIn(info, ValueInfoProto.type);
    const name = textIn(info, ValueInfoProto.name);
    if (!type.has(TypeProto.tensor_type))
      return { name, onnxType: null, dtype: null, type: kindOf(type), shape: null };
    const tensor = messageIn(type, TypeProto.tensor_type);
    const number = intIn(tensor, ONNX_FIELDS['TypeProto.Tensor'].elem_type);
    const onnxType = typeOf(number);
    // Halves have no form of their own.
    const dtype = onnxType === 'float16' ? 'float32' : onnxType;
    return { name, onnxType, dtype, type: onnxType ?? nameOf(number), shape: shapeIn(tensor) };
  });
}

function typeOf(number: number): OnnxType | null {
  const [name] = Object.entries(TYPES).find(([, type]) => type === number) ?? [];
  return (name as OnnxType | undefined) ?? null;
}

/** Returns the name of a type as ONNX has it, such as `string`. */
function nameOf(number: number): string {
  const [name] = Object.entries(ONNX_TYPES).find(([, type]) => type === number) ?? [];
  return name?.toLowerCase() ?? `of type ${number}`;
}

/** Returns what a value is that is no tensor. */
function kindOf(type: Message): string {
  const kinds = ['sequence_type', 'map_type', 'optional_type', 'sparse_tensor_type', 'opaque_type'] as const;
  const kind = kinds.find((each) => type.has(TypeProto[each]));
  return kind ? `a ${kind.replace('_type', '').replace('_', ' ')}` : 'of no known type';
}

/** Returns the sizes, -1 for one that varies; null for a tensor of unknown rank. */
function shapeIn(tensor: Message): number[] | null {
  const { shape } = ONNX_FIELDS['TypeProto.Tensor'];
  if (!tensor.has(shape)) return null;
  const dims = messagesIn(messageIn(tensor, shape), TensorShapeProto.dim);
  // Some exporters write 0 for a size that varies; no instance has none.
  return dims.map((dim) => intIn(dim, ONNX_FIELDS['TensorShapeProto.Dimension'].dim_value) || -1);
}

/**
 * The outline of an ONNX file: the same message without the values of its tensors, so that a model of gigabytes is looked at in
 * little memory.
 *
 * A field that is left out is skipped on disk. All others stay as they are and in their order, so the outline is strict or
 * ambiguous where the file is (protobuf.ts). Source: onnx.proto, https://github.com/onnx/onnx
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ONNX_FIELDS } from './fields.js';

type Name = keyof typeof PARTS;

const { ModelProto, GraphProto, NodeProto, AttributeProto, FunctionProto } = ONNX_FIELDS;
const { TensorProto, SparseTensorProto } = ONNX_FIELDS;

/** The messages that may hold a tensor, and in which fields of them it or the next such message is. */
const PARTS = {
  Model: { [ModelProto.graph]: 'Graph', [ModelProto.functions]: 'Function' },
  Graph: {
    [GraphProto.node]: 'Node',
    [GraphProto.initializer]: 'Tensor',
    [GraphProto.sparse_initializer]: 'SparseTensor',
  },
  Function: { [FunctionProto.node]: 'Node', [FunctionProto.attribute_proto]: 'Attribute' },
  Node: { [NodeProto.attribute]: 'Attribute' },
  Attribute: {
    [AttributeProto.t]: 'Tensor',
    [AttributeProto.g]: 'Graph',
    [AttributeProto.sparse_tensor]: 'SparseTensor',
    [AttributeProto.tensors]: 'Tensor',
    [AttributeProto.graphs]: 'Graph',
    [AttributeProto.sparse_tensors]: 'SparseTensor',
  },
  SparseTensor: { [SparseTensorProto.values]: 'Tensor', [SparseTensorProto.indices]: 'Tensor' },
  Tensor: {},
} as const satisfies Record<string, Record<number, string>>;

/** The fields that are left out: values, which may be one field each, and graphs that only training runs. */
const VALUES: Readonly<Partial<Record<Name, readonly number[]>>> = {
  Model: [ModelProto.training_info],
  Attribute: [AttributeProto.floats, AttributeProto.ints, AttributeProto.strings],
  Tensor: [
    ...[TensorProto.float_data, TensorProto.int32_data, TensorProto.string_data, TensorProto.int64_data],
    ...[TensorProto.raw_data, TensorProto.double_data, TensorProto.uint64_data],
  ],
};

const VARINT = 0;
const SIZED = 2;
const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
const MAX_VARINT = 10;
const WINDOW_BYTES = 64 * 1024;
/** The largest outline. It is held in memory whole. */
const MAX_OUTLINE_BYTES = 64 * 1024 * 1024;
/** A graph within a graph takes three levels. */
const MAX_DEPTH = 100;

/**
 * Returns the outline of the ONNX file at `path`. Reads the disk in one turn of the event loop.
 * @throws Error when the file is no message, or its outline is larger than 64 MiB.
 */
export function outlineOf(path: string): Uint8Array {
  const file = openSync(path, 'r');
  try {
    return createOutline(createReader(file)).of('Model', 0, fstatSync(file).size, 0);
  } finally {
    closeSync(file);
  }
}

function createOutline(reader: ReturnType<typeof createReader>) {
  let kept = 0;

  function keep(at: number, end: number): Uint8Array {
    kept += end - at;
    if (kept > MAX_OUTLINE_BYTES)
      throw new Error(`the file has more than ${MAX_OUTLINE_BYTES} bytes beside the values of tensors`);
    return Buffer.from(reader.read(at, end - at));
  }

  /** Returns the outline of the message between two places of the file. */
  function of(name: Name, start: number, end: number, depth: number): Uint8Array {
    if (depth > MAX_DEPTH) throw new Error('a message has too many messages within each other');
    const chunks: Uint8Array[] = [];
    for (let at = start; at < end; ) {
      const [tag, afterTag] = reader.varint(at, end);
      const [contentAt, next] = boundsOf(tag, afterTag, end);
      const field = Math.floor(tag / 8);
      const inner = (PARTS[name] as Partial<Record<number, Name>>)[field];
      if (inner && tag % 8 === SIZED) {
        const message = of(inner, contentAt, next, depth + 1);
        chunks.push(keep(at, afterTag), varintOf(message.length), message);
      } else if (!VALUES[name]?.includes(field)) chunks.push(keep(at, next));
      at = next;
    }
    return Buffer.concat(chunks);
  }

  /** Returns where the content of a field begins and where the next field does. */
  function boundsOf(tag: number, at: number, end: number): [contentAt: number, next: number] {
    const wire = tag % 8;
    if (wire === VARINT) return [at, reader.varint(at, end)[1]];
    const [size, from] = wire === SIZED ? reader.varint(at, end) : [FIXED[wire], at];
    if (size === undefined) throw new Error(`a message has a field of wire type ${wire}`);
    if (from + size > end) throw new Error('a message is cut short');
    return [from, from + size];
  }

  return { of };
}

/** Reads a file in windows. */
function createReader(file: number) {
  let window = Buffer.alloc(0);
  let windowAt = 0;

  function read(at: number, length: number): Uint8Array {
    if (at < windowAt || at + length > windowAt + window.length) {
      const bytes = Buffer.alloc(Math.max(length, WINDOW_BYTES));
      window = bytes.subarray(0, readSync(file, bytes, 0, bytes.length, at));
      windowAt = at;
      if (window.length < length) throw new Error('a message is cut short');
    }
    return window.subarray(at - windowAt, at - windowAt + length);
  }

  /** Returns a number of up to 64 bits, which may be inexact above 53, and the place after it. */
  function varint(at: number, end: number): [value: number, next: number] {
    let value = 0;
    for (let size = 0; size < MAX_VARINT && at + size < end; size++) {
      const [byte = 0] = read(at + size, 1);
      value += (byte & 0x7f) * 2 ** (7 * size);
      if (byte < 0x80) return [value, at + size + 1];
    }
    throw new Error('a message has a number that is too large, or is cut short');
  }

  return { read, varint };
}

function varintOf(value: number): Uint8Array {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) + 0x80);
  return Uint8Array.from([...bytes, left]);
}

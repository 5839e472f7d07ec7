/**
 * `npm run generate:fields`: writes the field numbers of the messages that SavedModels and ONNX files are made of.
 *
 * The wheels of TensorFlow and ONNX hold no .proto file. Each of their Python modules holds the descriptor that was compiled
 * from one, so the numbers come from there: no hand copies them, and a new version takes one command.
 * Source: descriptor.proto, https://protobuf.dev/reference/other/
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { messageOf } from '../../shared/base/errors.js';
import {
  intIn,
  type Message,
  messagesIn,
  parseMessage,
  textIn,
} from '../../shared/model-packages/protobuf.js';
import { TENSORFLOW_VERSION } from '../../shared/native/tensorflow-library.js';
import { runCommand } from '../run-command.js';
import { fetchWheels, type Wheel, wheelsOf } from './wheels.js';

interface Table {
  path: string;
  /** The owner of these numbers, as people know it. */
  product: string;
  wheels: readonly Wheel[];
  /** Files of the wheels. */
  modules: readonly string[];
  messages: readonly string[];
  /** The enum of the types of tensors. */
  types: string;
  /** The names of the constants for fields and types. */
  constants: readonly [fields: string, types: string];
}

const ONNX_VERSION = '1.23.2';

const TABLES: readonly Table[] = [
  {
    path: 'shared/model-packages/saved-model/fields.ts',
    product: `TensorFlow ${TENSORFLOW_VERSION}`,
    wheels: wheelsOf('cpu'),
    modules: [
      ...['saved_model', 'meta_graph', 'saver'].map((name) => `tensorflow/core/protobuf/${name}_pb2.py`),
      ...['graph', 'node_def', 'function', 'op_def', 'attr_value', 'tensor_shape', 'types'].map(
        (name) => `tensorflow/core/framework/${name}_pb2.py`,
      ),
    ],
    messages: [
      ...['SavedModel', 'MetaGraphDef', 'MetaGraphDef.MetaInfoDef', 'SaverDef', 'CollectionDef'],
      ...['CollectionDef.NodeList', 'CollectionDef.AnyList', 'AssetFileDef', 'SignatureDef', 'TensorInfo'],
      ...['TensorShapeProto', 'TensorShapeProto.Dim', 'GraphDef', 'NodeDef', 'FunctionDefLibrary'],
      ...['FunctionDef', 'OpDef', 'OpDef.ArgDef', 'OpDef.AttrDef', 'OpList', 'AttrValue'],
      ...['AttrValue.ListValue', 'NameAttrList'],
    ],
    types: 'DataType',
    constants: ['FIELDS', 'DATA_TYPES'],
  },
  {
    path: 'shared/model-packages/onnx/fields.ts',
    product: `ONNX ${ONNX_VERSION}`,
    wheels: [
      {
        name: `onnx==${ONNX_VERSION}`,
        sha256: 'c03ecf6b835d136108eeaeeafbd0026fc7b3cf98661409fbc6b63d5a29361348',
      },
    ],
    modules: ['onnx/onnx_ml_pb2.py'],
    messages: [
      ...['ModelProto', 'GraphProto', 'NodeProto', 'AttributeProto', 'FunctionProto', 'OperatorSetIdProto'],
      ...['TensorProto', 'SparseTensorProto', 'StringStringEntryProto', 'ValueInfoProto', 'TypeProto'],
      ...['TypeProto.Tensor', 'TensorShapeProto', 'TensorShapeProto.Dimension'],
    ],
    types: 'TensorProto.DataType',
    constants: ['ONNX_FIELDS', 'ONNX_TYPES'],
  },
];

/** Prints the descriptor of each module as a line of base64, without running any of TensorFlow's code. */
const READ_DESCRIPTORS = `
import ast, base64, sys, zipfile
wheel, *modules = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for module in modules:
        tree = ast.parse(archive.read(module))
        print(base64.b64encode(next(
            node.args[0].value for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'AddSerializedFile'
        )).decode())
`;

// descriptor.proto describes itself as well, but somewhere a reader has to begin.
const FILE = { messages: 4, enums: 5 };
const MESSAGE = { name: 1, fields: 2, nested: 3, enums: 4 };
const FIELD = { name: 1, number: 3 };
const ENUMERATION = { name: 1, values: 2 };
const VALUE = { name: 1, number: 2 };

type Numbers = Record<string, number>;

async function readDescriptors({ wheels, modules }: Table, signal: AbortSignal): Promise<Message[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-fields-'));
  try {
    const files = await fetchWheels(wheels, folder, signal);
    const { stdout } = await runCommand('python3', ['-c', READ_DESCRIPTORS, ...files, ...modules], {
      signal,
    });
    const lines = stdout.trim().split('\n');
    return lines.map((line) => parseMessage(Buffer.from(line, 'base64')));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The fields of `descriptor` and of the messages nested in it, by the message's name. */
function fieldsOf(descriptor: Message, outer = ''): [string, Numbers][] {
  const name = outer + textIn(descriptor, MESSAGE.name);
  const fields = messagesIn(descriptor, MESSAGE.fields).map(
    (field) => [textIn(field, FIELD.name), intIn(field, FIELD.number)] as const,
  );
  const nested = messagesIn(descriptor, MESSAGE.nested).flatMap((each) => fieldsOf(each, `${name}.`));
  return [[name, Object.fromEntries(fields)], ...nested];
}

/** The enums of a message and of those nested in it, by name. */
function enumsOf(descriptor: Message, outer: string): [string, Message][] {
  const name = `${outer}${textIn(descriptor, MESSAGE.name)}.`;
  return [
    ...messagesIn(descriptor, MESSAGE.enums).map((each) => named(each, name)),
    ...messagesIn(descriptor, MESSAGE.nested).flatMap((each) => enumsOf(each, name)),
  ];
}

function named(enumeration: Message, outer = ''): [string, Message] {
  return [outer + textIn(enumeration, ENUMERATION.name), enumeration];
}

function valuesOf(enumeration: Message): Numbers {
  const values = messagesIn(enumeration, ENUMERATION.values);
  return Object.fromEntries(values.map((value) => [textIn(value, VALUE.name), intIn(value, VALUE.number)]));
}

function textOf({ product, messages, types, constants }: Table, files: readonly Message[]): string {
  const described = files.flatMap((file) => messagesIn(file, FILE.messages));
  const known = new Map(described.flatMap((each) => fieldsOf(each)));
  const wanted = messages.map((name) => {
    const fields = known.get(name);
    if (!fields) throw new Error(`${product} has no message ${name}`);
    return [name, fields] as const;
  });
  const enums = new Map([
    ...files.flatMap((file) => messagesIn(file, FILE.enums)).map((each) => named(each)),
    ...described.flatMap((each) => enumsOf(each, '')),
  ]);
  const enumeration = enums.get(types);
  if (!enumeration) throw new Error(`${product} has no enum ${types}`);
  return [
    `/** Numbers in ${product}'s protobufs. \`npm run generate:fields\` writes this file; do not edit it. */`,
    `/** Field numbers by message. */\n${constant(constants[0], Object.fromEntries(wanted))}`,
    `/** Numbers of the enum \`${types}\`. */\n${constant(constants[1], valuesOf(enumeration))}`,
  ].join('\n\n');
}

function constant(name: string, value: object): string {
  return `export const ${name} = ${JSON.stringify(value, null, 2)} as const;`;
}

async function main(): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  for (const table of TABLES)
    writeFileSync(resolve(table.path), textOf(table, await readDescriptors(table, stop.signal)));
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
});

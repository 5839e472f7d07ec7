/**
 * `npm run generate:fields`: writes the field numbers of the TensorFlow messages that a SavedModel's program is made of.
 *
 * TensorFlow's wheel holds no .proto file. Each of its Python modules holds the descriptor that was compiled from one, so
 * the numbers come from there: no hand copies them, and a new version of TensorFlow takes one command.
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
} from '../../shared/model-packages/saved-model/protobuf.js';
import { TENSORFLOW_VERSION } from '../../shared/native/tensorflow-library.js';
import { runCommand } from '../run-command.js';
import { fetchWheels } from './wheels.js';

const TABLE = 'shared/model-packages/saved-model/fields.ts';
const MODULES = [
  ...['saved_model', 'meta_graph', 'saver'].map((name) => `tensorflow/core/protobuf/${name}_pb2.py`),
  ...['graph', 'node_def', 'function', 'op_def', 'attr_value', 'tensor_shape', 'types'].map(
    (name) => `tensorflow/core/framework/${name}_pb2.py`,
  ),
];
const MESSAGES = [
  'SavedModel',
  'MetaGraphDef',
  'MetaGraphDef.MetaInfoDef',
  'SaverDef',
  'CollectionDef',
  'CollectionDef.NodeList',
  'CollectionDef.AnyList',
  'AssetFileDef',
  'SignatureDef',
  'TensorInfo',
  'TensorShapeProto',
  'TensorShapeProto.Dim',
  'GraphDef',
  'NodeDef',
  'FunctionDefLibrary',
  'FunctionDef',
  'OpDef',
  'OpDef.ArgDef',
  'OpDef.AttrDef',
  'OpList',
  'AttrValue',
  'AttrValue.ListValue',
  'NameAttrList',
];
const ENUM = 'DataType';

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
const MESSAGE = { name: 1, fields: 2, nested: 3 };
const FIELD = { name: 1, number: 3 };
const ENUMERATION = { name: 1, values: 2 };
const VALUE = { name: 1, number: 2 };

type Numbers = Record<string, number>;

async function readDescriptors(signal: AbortSignal): Promise<Message[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-fields-'));
  try {
    const wheels = await fetchWheels('cpu', folder, signal);
    const { stdout } = await runCommand('python3', ['-c', READ_DESCRIPTORS, ...wheels, ...MODULES], {
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

function valuesOf(enumeration: Message): Numbers {
  const values = messagesIn(enumeration, ENUMERATION.values);
  return Object.fromEntries(values.map((value) => [textIn(value, VALUE.name), intIn(value, VALUE.number)]));
}

function tableOf(files: readonly Message[]): string {
  const known = new Map(
    files.flatMap((file) => messagesIn(file, FILE.messages)).flatMap((each) => fieldsOf(each)),
  );
  const wanted = MESSAGES.map((name) => {
    const fields = known.get(name);
    if (!fields) throw new Error(`TensorFlow ${TENSORFLOW_VERSION} has no message ${name}`);
    return [name, fields] as const;
  });
  const enums = files.flatMap((file) => messagesIn(file, FILE.enums));
  const types = enums.find((each) => textIn(each, ENUMERATION.name) === ENUM);
  if (!types) throw new Error(`TensorFlow ${TENSORFLOW_VERSION} has no enum ${ENUM}`);
  return [
    `/** Numbers in TensorFlow ${TENSORFLOW_VERSION}'s protobufs. \`npm run generate:fields\` writes this file; do not edit it. */`,
    `/** Field numbers by message. */\n${constant('FIELDS', Object.fromEntries(wanted))}`,
    `/** Numbers of the enum \`${ENUM}\`. */\n${constant('DATA_TYPES', valuesOf(types))}`,
  ].join('\n\n');
}

function constant(name: string, value: object): string {
  return `export const ${name} = ${JSON.stringify(value, null, 2)} as const;`;
}

async function main(): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  writeFileSync(resolve(TABLE), tableOf(await readDescriptors(stop.signal)));
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
});

/**
 * Encoding an input of strings: text, base64 or a file becomes the bytes of each element.
 */
import type { TensorSpec } from '../models/manifest.js';
import { escapePointer } from '../schema.js';
import { decodeBase64 } from './base64.js';
import { toBytes } from './elements.js';
import { asObject, type EncodeValue, type FindFile, fail, readFile } from './input-value.js';
import { createNestingReader, shapeOfNested } from './nesting.js';
import { elementsOf } from './tensor.js';

const FORMS = 'text, {"b64": …} or {"file": …}';
/** The reader checks only the kind of an element; `bytesOf` says more of what is wrong. */
const ELEMENT = { type: ['string', 'object'] } as const;

/** Returns the encoder of one input of strings. Text becomes UTF-8. */
export function createStringEncoder(spec: TensorSpec): EncodeValue {
  const reader = createNestingReader(spec, ELEMENT, ['strings', `each of them ${FORMS}`]);
  return async (value, path, findFile) => {
    reader.check(value, path);
    const shape = reader.fixed ?? shapeOfNested(value);
    const elements: [item: unknown, path: string][] = [];
    reader.read(value, shape, elementsOf(shape), path, (row, _, pathOf) => {
      row.forEach((item, index) => void elements.push([item, pathOf(index)]));
    });
    const strings: Uint8Array[] = [];
    for (const [item, at] of elements) strings.push(await bytesOf(spec, item, at, findFile));
    return { dtype: 'string', shape, data: toBytes(strings) };
  };
}

async function bytesOf(
  { maxBytes = Number.POSITIVE_INFINITY }: TensorSpec,
  item: unknown,
  path: string,
  findFile: FindFile,
): Promise<Uint8Array> {
  const demand = (bytes: number) => {
    if (bytes > maxBytes) fail(path, `has ${bytes} bytes, more than ${maxBytes}`);
  };
  const read = async () => {
    if (typeof item === 'string') return Buffer.from(item);
    const { field, content } = onlyField(item, path);
    if (field === 'b64') return decodeBase64(content, `${path}/b64`);
    return readFile(content, `${path}/file`, findFile, demand);
  };
  const bytes = await read();
  demand(bytes.byteLength);
  return bytes;
}

function onlyField(item: unknown, path: string): { field: string; content: unknown } {
  const entries = Object.entries(asObject(item, path, `must be ${FORMS}`));
  const [field, content] = entries.find(([name]) => name === 'b64' || name === 'file') ?? [];
  if (field === undefined) fail(path, `must be ${FORMS}; got an object`);
  const other = entries.find(([name]) => name !== field);
  if (other) fail(`${path}/${escapePointer(other[0])}`, 'is not a field of a string');
  return { field, content };
}

/**
 * Finding the encoded file of a picture or a sound in an instance: in base64, or uploaded before and named by its id.
 */
import { decodeBase64 } from './base64.js';
import { asObject, type FindFile, fail, readFile } from './input-value.js';

/** An encoded file as a caller sent it. */
export interface EncodedFile {
  bytes: Uint8Array;
  /** The place of what was sent, for faults of the whole: a JSON Pointer (RFC 6901). */
  at: string;
  /** The place of its bytes, for faults of the format. */
  source: string;
}

/**
 * Resolves with the file of `{<kind>: {"b64"}}`, `{<kind>: {"file"}}` or `{"file"}`.
 *
 * @param formats says which files there may be, for the one who sent something else
 * @throws {InputFault} for anything else, or when the file cannot be had
 */
export async function readEncodedFile(
  kind: 'image' | 'audio',
  formats: string,
  value: unknown,
  path: string,
  findFile: FindFile,
): Promise<EncodedFile> {
  const expected = `must be {"${kind}": {"b64": "<${formats}>"}} or {"${kind}": {"file": "<id>"}}`;
  const outer = asObject(value, path, expected);
  if (!Object.hasOwn(outer, 'file') && !Object.hasOwn(outer, kind)) fail(path, expected);
  const [inner, at] = Object.hasOwn(outer, 'file')
    ? [outer, path]
    : [asObject(outer[kind], `${path}/${kind}`, expected), `${path}/${kind}`];
  const fromFile = Object.hasOwn(inner, 'file');
  if (fromFile && Object.hasOwn(inner, 'b64')) fail(`${at}/b64`, 'cannot stand beside `file`');
  const source = fromFile ? `${at}/file` : `${at}/b64`;
  const bytes = fromFile ? await readFile(inner.file, source, findFile) : decodeBase64(inner.b64, source);
  return { bytes, at, source };
}

/**
 * What the encoders of all kinds of inputs share: how a fault is told, and how bytes are read from a body or from a file.
 */
import type { Fault } from '../errors.js';
import { kindOf } from '../schema.js';
import type { Value } from './tensor.js';

/** What an instance may read of a file. */
export interface InputFile {
  bytes: number;
  /** Null when it is gone. */
  read(): Promise<Uint8Array | null>;
}

/** A text says why there is none to be had. */
export type FindFile = (id: string) => Promise<InputFile | string>;

/** Encodes one input of one instance; `path` is its place in the body. Throws an `InputFault`. */
export type EncodeValue = (value: unknown, path: string, findFile: FindFile) => Value | Promise<Value>;

export const NO_SUCH_FILE = 'there is no such file';

export class InputFault extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message);
  }
}

export function fail(path: string, message: string): never {
  throw new InputFault({ path, message });
}

export async function readFile(
  id: unknown,
  path: string,
  findFile: FindFile,
  checkBytes: (bytes: number) => void = () => undefined,
): Promise<Uint8Array> {
  if (typeof id !== 'string') fail(path, `must be the id of a file; got ${kindOf(id)}`);
  const file = await findFile(id);
  if (typeof file === 'string') fail(path, file);
  checkBytes(file.bytes);
  return (await file.read()) ?? fail(path, NO_SUCH_FILE);
}

export function asObject(
  value: unknown,
  path: string,
  expected = 'must be an object with a value for each input',
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail(path, `${expected}; got ${kindOf(value)}`);
  return value as Record<string, unknown>;
}

export function decodeBase64(text: unknown, path: string): Buffer {
  if (typeof text !== 'string') fail(path, `must be a base64 string; got ${kindOf(text)}`);
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    fail(path, 'must be base64 (RFC 4648, section 4, padded)');
  return Buffer.from(text, 'base64');
}

/**
 * The parts that the encoders of all kinds of inputs share: telling a fault, and reading bytes from a body or a file.
 */
import type { Fault } from '../errors.js';
import { kindOf } from '../schema.js';
import type { Value } from './tensor.js';

/** A file that an instance names. */
export interface InputFile {
  bytes: number;
  /** Resolves to null when the file is gone. */
  read(): Promise<Uint8Array | null>;
}

/** Finds a file by its id. A text in its place tells the caller why the file cannot be had. */
export type FindFile = (id: string) => Promise<InputFile | string>;

/**
 * Encodes one input of one instance; `path` is its place in the body, a JSON Pointer (RFC 6901).
 *
 * @throws {InputFault} for a value that the signature does not admit
 */
export type EncodeValue = (value: unknown, path: string, findFile: FindFile) => Value | Promise<Value>;

export const NO_SUCH_FILE = 'there is no such file';

/** One bad value of one instance; the encoder of a version collects them into `invalid_input`. */
export class InputFault extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message);
  }
}

/** @throws {InputFault} always: `message` about the value at `path`, a JSON Pointer */
export function fail(path: string, message: string): never {
  throw new InputFault({ path, message });
}

/**
 * Returns the bytes of the file that the body names by its id.
 *
 * @param checkBytes sees the file's length before anything is read, so that a wrong file costs nothing
 * @throws {InputFault} when `id` is no id, or the file cannot be had
 */
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

/**
 * Returns `value` as an object.
 *
 * @param expected tells the caller which value would be right
 * @throws {InputFault} when it is anything else, an array or null included
 */
export function asObject(
  value: unknown,
  path: string,
  expected = 'must be an object with a value for each input',
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail(path, `${expected}; got ${kindOf(value)}`);
  return value as Record<string, unknown>;
}

/** Tells whether `value` is an object, and no array, with a field of its own of this name. */
export function has(value: unknown, field: string): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, field);
}

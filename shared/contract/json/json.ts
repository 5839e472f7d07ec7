/**
 * Parsing JSON from outside. Its nesting is bounded before it is parsed, and every text in it can be written as UTF-8 again.
 */
import { isUtf8 } from 'node:buffer';
import { messageOf } from '../../base/errors.js';
import { type Fault, invalid, SluiceError } from '../errors.js';
import { escapePointer } from '../schema.js';
import { skipString } from './json-text.js';

const QUOTE = 0x22;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
/** Half of a pair that UTF-16 writes one character with. JSON can escape it alone, and UTF-8 has no bytes for it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Counts brackets outside strings, because a parser would spend memory on every level first. */
function depthExceeds(bytes: Buffer, maxDepth: number): boolean {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      i = skipString(bytes, i) - 1;
      // JSON.parse tells of a string without an end.
      if (i < 0) return false;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
  return false;
}

/** A value of JSON. A text in it may hold half a surrogate pair until somebody demands that it does not. */
export interface ParsedJson {
  value: unknown;
  /** Throws `invalid_input` for a part of the value with a text that no UTF-8 can hold. */
  demandWholeText(part: unknown): void;
}

/**
 * Returns the value that `bytes` hold. A byte order mark before it is skipped (RFC 8259, section 8.1).
 *
 * @param maxDepth how deep arrays and objects may nest
 * @param subject begins the sentence of an error, such as "The body"
 * @throws {SluiceError} `malformed_json`; `invalid_input` for a text with half a surrogate pair
 */
export function parseJson(bytes: Buffer, maxDepth: number, subject: string): unknown {
  return whole(parseJsonOfParts(bytes, maxDepth, subject));
}

/** Returns the value as `parseJson` does, for a caller who asks `demandWholeText` of each part, so that a bad one harms no other. */
export function parseJsonOfParts(bytes: Buffer, maxDepth: number, subject: string): ParsedJson {
  const text = withoutMark(bytes);
  if (text.length === 0) throw new SluiceError('malformed_json', `${subject} is empty.`);
  const encoding = otherEncodingOf(text);
  if (encoding) throw new SluiceError('malformed_json', `${subject} is ${encoding}; it must be UTF-8.`);
  if (depthExceeds(text, maxDepth))
    throw new SluiceError('malformed_json', `${subject} is nested deeper than ${maxDepth} levels.`);
  const demand = mayHoldBrokenText(text) ? demandWholeText : () => undefined;
  try {
    return { value: JSON.parse(text.toString('utf8')), demandWholeText: demand };
  } catch (error) {
    throw new SluiceError('malformed_json', `${subject} is not JSON: ${messageOf(error)}.`);
  }
}

/** Returns the value, or throws `invalid_input` for a text in it with half a surrogate pair. */
export function whole({ value, demandWholeText }: ParsedJson): unknown {
  demandWholeText(value);
  return value;
}

/** Tells whether the bytes escape a surrogate. Without one, no text in them needs to be looked at. */
function mayHoldBrokenText(bytes: Buffer): boolean {
  return bytes.includes('\\ud') || bytes.includes('\\uD');
}

/** @throws {SluiceError} `invalid_input` with the place of the first text or name that has half a surrogate pair */
function demandWholeText(value: unknown): void {
  const fault = brokenText(value, '');
  if (fault) throw invalid([fault]);
}

function brokenText(value: unknown, path: string): Fault | null {
  if (typeof value === 'string')
    return LONE_SURROGATE.test(value)
      ? { path, message: 'has half a surrogate pair (such as \\ud800), which is no character' }
      : null;
  if (typeof value !== 'object' || value === null) return null;
  for (const key in value) {
    if (LONE_SURROGATE.test(key))
      return { path, message: 'has a name with half a surrogate pair, which is no character' };
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === 'number') continue;
    const fault = brokenText(item, `${path}/${escapePointer(key)}`);
    if (fault) return fault;
  }
  return null;
}

/** Returns the bytes behind the byte order mark, if there is one. */
export function withoutMark(bytes: Buffer): Buffer {
  return bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? bytes.subarray(3) : bytes;
}

/** Returns what the bytes are instead of UTF-8, null when they are. JSON begins with ASCII, whose halves in UTF-16 are zeros. */
function otherEncodingOf(bytes: Buffer): string | null {
  const [first, second] = bytes;
  const marked = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  if (marked || first === 0 || second === 0) return 'UTF-16';
  return isUtf8(bytes) ? null : 'not valid UTF-8';
}

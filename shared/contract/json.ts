/**
 * Parsing JSON from outside. Its nesting is bounded before it is parsed.
 */
import { messageOf } from '../base/errors.js';
import { SluiceError } from './errors.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Counts brackets outside strings, because a parser would spend memory on every level first. */
function depthExceeds(bytes: Uint8Array, maxDepth: number): boolean {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      for (i++; i < bytes.length && bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i++;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
  return false;
}

/**
 * Returns the value that `bytes` hold.
 *
 * @param maxDepth how deep arrays and objects may nest
 * @param subject begins the sentence of an error, such as "The body"
 * @throws {SluiceError} `malformed_json`
 */
export function parseJson(bytes: Buffer, maxDepth: number, subject: string): unknown {
  if (bytes.length === 0) throw new SluiceError('malformed_json', `${subject} is empty.`);
  if (depthExceeds(bytes, maxDepth))
    throw new SluiceError('malformed_json', `${subject} is nested deeper than ${maxDepth} levels.`);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new SluiceError('malformed_json', `${subject} is not JSON: ${messageOf(error)}.`);
  }
}

/**
 * Steps over the text of JSON without parsing it. In a text that is JSON they end behind what they step over; of any other text
 * they tell nothing.
 */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const SPACE = 0x20;
const NEAR = 32;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const TAB = 0x09;

/** Tells whether a byte is white space (RFC 8259, section 2). */
export function isSpace(byte: number): boolean {
  return byte === SPACE || byte === NEWLINE || byte === RETURN || byte === TAB;
}

/** Returns the place of the first byte from `at` on that is no white space. */
export function skipSpace(bytes: Buffer, at: number): number {
  let i = at;
  while (isSpace(bytes[i] as number)) i++;
  return i;
}

/** Returns the place behind a string that begins at `at`, with its quote; -1 where none ends. */
export function skipString(bytes: Buffer, at: number): number {
  let near = at + 1;
  // Most strings are short. To find the end of one in this way takes less time than a call of `indexOf`.
  for (; near <= at + NEAR; near++) {
    if (bytes[near] === QUOTE) return near + 1;
    if (bytes[near] === BACKSLASH) near++;
  }
  for (let end = bytes.indexOf(QUOTE, near); end >= 0; end = bytes.indexOf(QUOTE, end + 1)) {
    let escapes = 0;
    while (bytes[end - 1 - escapes] === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return end + 1;
  }
  return -1;
}

/** Returns the place behind the value that begins at `at`; -1 where none ends. */
export function skipValue(bytes: Buffer, at: number): number {
  let depth = 0;
  let i = at;
  do {
    const byte = bytes[i];
    if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) depth++;
    else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth--;
    i = byte === QUOTE ? skipString(bytes, i) : i + 1;
    if (i < 0 || i >= bytes.length) return -1;
  } while (depth > 0 || !mayFollow(bytes[i] as number));
  return i;
}

/**
 * Steps over the object that begins at `at`, and returns the place behind it; -1 for anything else, and for a name with an escape.
 *
 * @param stepOver is given each name and the place of its value, and returns the place behind that; -1 to end the walk
 */
export function walkObject(
  bytes: Buffer,
  at: number,
  stepOver: (name: string, at: number) => number,
): number {
  if (bytes[at] !== OPEN_OBJECT) return -1;
  let i = skipSpace(bytes, at + 1);
  if (bytes[i] === CLOSE_OBJECT) return i + 1;
  for (; ; i = skipSpace(bytes, i + 1)) {
    const end = bytes[i] === QUOTE ? skipString(bytes, i) : -1;
    const name = bytes.toString('utf8', i + 1, end - 1);
    i = skipSpace(bytes, end);
    if (end < 0 || name.includes('\\') || bytes[i] !== COLON) return -1;
    i = stepOver(name, skipSpace(bytes, i + 1));
    if (i < 0) return -1;
    i = skipSpace(bytes, i);
    if (bytes[i] === CLOSE_OBJECT) return i + 1;
    if (bytes[i] !== COMMA) return -1;
  }
}

/** Steps over the array that begins at `at` as `walkObject` does; items are given by their index. */
export function walkArray(
  bytes: Buffer,
  at: number,
  stepOver: (index: number, at: number) => number,
): number {
  if (bytes[at] !== OPEN_ARRAY) return -1;
  let i = skipSpace(bytes, at + 1);
  if (bytes[i] === CLOSE_ARRAY) return i + 1;
  for (let index = 0; ; index++) {
    i = stepOver(index, i);
    if (i < 0) return -1;
    i = skipSpace(bytes, i);
    if (bytes[i] === CLOSE_ARRAY) return i + 1;
    if (bytes[i] !== COMMA) return -1;
    i = skipSpace(bytes, i + 1);
  }
}

/** Tells whether a byte may stand behind a value in an array or an object. */
function mayFollow(byte: number): boolean {
  return byte === COMMA || byte === CLOSE_ARRAY || byte === CLOSE_OBJECT || isSpace(byte);
}

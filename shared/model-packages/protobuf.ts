/**
 * Reads messages of Protocol Buffers field by field, for a check of bytes that another program will read later.
 * Source: the Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/
 *
 * Two readers may see different messages in the same bytes. When a single field comes twice, one reader merges the two and one
 * takes the last. When a field has an unexpected wire type, one skips it and one reads on in the middle. This reader promises
 * that every other reader sees what it returns. It refuses everything ambiguous.
 */

interface Field {
  wire: number;
  /** The content, without tag and length. */
  bytes: Uint8Array;
}
/** All fields by number, in order. Nested messages are parsed when a caller asks for them. */
export type Message = ReadonlyMap<number, readonly Field[]>;

const VARINT = 0;
const SIZED = 2;
/** Bytes of the wire types of fixed length: 64 and 32 bits. Groups are refused, because nothing writes them any more. */
const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
/** Bytes of the longest varint of 64 bits, and of 32 bits, which tags and lengths have. */
const MAX_VARINT = 10;
const MAX_VARINT32 = 5;
/** The most fields of one message. Two bytes can be a field, and a field takes about a hundred bytes in memory. */
const MAX_FIELDS = 2 ** 18;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const EMPTY: Message = new Map();

/** Parses one message; throws an Error when the bytes are not one, or are ambiguous. */
export function parseMessage(bytes: Uint8Array): Message {
  const fields = new Map<number, Field[]>();
  let at = 0;

  function take(size: number): Uint8Array {
    if (size > bytes.length - at) throw new Error('a message is cut short');
    at += size;
    return bytes.subarray(at - size, at);
  }

  function sizeOfVarint(longest: number): number {
    let size = 1;
    while ((bytes[at + size - 1] ?? 0) >= 0x80) size++;
    if (size > longest) throw new Error('a message has a number that is too large');
    return size;
  }

  /** Reads a tag or a length. */
  function takeNumber(): number {
    const end = at + sizeOfVarint(MAX_VARINT32);
    let number = 0;
    for (let scale = 1; at < end; scale *= 0x80) number += ((bytes[at++] ?? 0) & 0x7f) * scale;
    // Some readers drop the bits above 32, so larger values are refused.
    if (number >= 2 ** 32) throw new Error('a message has a number that is too large');
    return number;
  }

  function takeValue(wire: number): Uint8Array {
    if (wire === VARINT) return take(sizeOfVarint(MAX_VARINT));
    const size = wire === SIZED ? takeNumber() : FIXED[wire];
    if (size === undefined) throw new Error(`a message has a field of wire type ${wire}`);
    return take(size);
  }

  for (let count = 0; at < bytes.length; count++) {
    if (count === MAX_FIELDS) throw new Error(`a message has more than ${MAX_FIELDS} fields`);
    const tag = takeNumber();
    const field = { wire: tag % 8, bytes: takeValue(tag % 8) };
    const number = Math.floor(tag / 8);
    const before = fields.get(number);
    if (before) before.push(field);
    else fields.set(number, [field]);
  }
  return fields;
}

/** Returns the nested messages of a repeated field. */
export function messagesIn(message: Message, field: number): Message[] {
  return valuesIn(message, field, SIZED).map(parseMessage);
}

/** Returns the texts of a repeated field; throws when one is not UTF-8. */
export function textsIn(message: Message, field: number): string[] {
  return valuesIn(message, field, SIZED).map((bytes) => utf8.decode(bytes));
}

/** Returns the nested message of a single field. A missing field is an empty message; likewise a missing text is empty and a missing number 0. */
export function messageIn(message: Message, field: number): Message {
  return only(messagesIn(message, field), field) ?? EMPTY;
}

/** Returns the text of a single field, empty when the field is missing. */
export function textIn(message: Message, field: number): string {
  return only(textsIn(message, field), field) ?? '';
}

/** Returns the integer of a single field: signed, up to 64 bits; true is 1. */
export function intIn(message: Message, field: number): number {
  const bytes = only(valuesIn(message, field, VARINT), field) ?? [];
  const bits = [...bytes].reduce((sum, byte, i) => sum | (BigInt(byte & 0x7f) << BigInt(7 * i)), 0n);
  return Number(BigInt.asIntN(64, bits));
}

/** Returns a map field from texts to messages. */
export function mapIn(message: Message, field: number): Map<string, Message> {
  const entries = messagesIn(message, field).map((entry) => [textIn(entry, 1), messageIn(entry, 2)] as const);
  const map = new Map(entries);
  if (map.size < entries.length) throw new Error(`a message has a key of field ${field} twice`);
  return map;
}

function valuesIn(message: Message, field: number, wire: number): Uint8Array[] {
  const found = message.get(field) ?? [];
  if (found.some((each) => each.wire !== wire))
    throw new Error(`a message has field ${field} with another wire type than it should`);
  return found.map((each) => each.bytes);
}

function only<T>(values: readonly T[], field: number): T | undefined {
  if (values.length > 1) throw new Error(`a message has field ${field} twice`);
  return values[0];
}

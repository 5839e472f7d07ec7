/**
 * Messages of Protocol Buffers, read field by field, for a check of what another program will read.
 *
 * Two readers may see different messages in the same bytes. A field that should be there once and comes twice: one joins the
 * two, one takes the last. A field of another wire type than it should have: one skips it, one reads on in the middle. So this
 * one promises: what it returns, every reader sees. Whatever is not plain is refused.
 */

interface Field {
  wire: number;
  /** Without the tag, and without its own size. */
  bytes: Uint8Array;
}
/** Fields by number, each as often as it is there. Messages within are parsed when they are asked for. */
export type Message = ReadonlyMap<number, readonly Field[]>;

const VARINT = 0;
const SIZED = 2;
/** Bytes of the wire types that have as many: 64 and 32 bits. Groups, which nothing writes any more, are refused. */
const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
/** Bytes of the longest varint, and of the longest of 32 bits, as a tag or a size. */
const MAX_VARINT = 10;
const MAX_VARINT32 = 5;
/** Of one message: two bytes may be a field, and one takes a hundred in memory. */
const MAX_FIELDS = 2 ** 18;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const EMPTY: Message = new Map();

/** Throws when the bytes are no message. */
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

  /** A tag or a size. */
  function takeNumber(): number {
    const end = at + sizeOfVarint(MAX_VARINT32);
    let number = 0;
    for (let scale = 1; at < end; scale *= 0x80) number += ((bytes[at++] ?? 0) & 0x7f) * scale;
    // Some readers drop what is above 32 bits.
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

export function messagesIn(message: Message, field: number): Message[] {
  return valuesIn(message, field, SIZED).map(parseMessage);
}

export function textsIn(message: Message, field: number): string[] {
  return valuesIn(message, field, SIZED).map((bytes) => utf8.decode(bytes));
}

/** Empty where there is none, as every reader takes it; so are texts, and numbers are 0. */
export function messageIn(message: Message, field: number): Message {
  return only(messagesIn(message, field), field) ?? EMPTY;
}

export function textIn(message: Message, field: number): string {
  return only(textsIn(message, field), field) ?? '';
}

/** A signed integer of up to 64 bits, or 1 for true. */
export function intIn(message: Message, field: number): number {
  const bytes = only(valuesIn(message, field, VARINT), field) ?? [];
  const bits = [...bytes].reduce((sum, byte, i) => sum | (BigInt(byte & 0x7f) << BigInt(7 * i)), 0n);
  return Number(BigInt.asIntN(64, bits));
}

/** A map from texts to messages. */
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

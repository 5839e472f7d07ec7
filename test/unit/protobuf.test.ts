/** Messages that every reader reads in the same way, and those that are refused because some would not. */
import { expect, it } from 'vitest';
import {
  intIn,
  mapIn,
  messageIn,
  messagesIn,
  parseMessage,
  textIn,
  textsIn,
} from '../../shared/model-packages/protobuf.js';

const parse = (...bytes: number[]) => parseMessage(Uint8Array.from(bytes));
/** Field 1, of the wire types varint and with a size; field 2 with a size. */
const [INT_1, SIZED_1, SIZED_2] = [0x08, 0x0a, 0x12];
const [A, B] = [0x61, 0x62];

it('reads texts, numbers, messages and maps', () => {
  expect(textsIn(parse(SIZED_1, 1, A, SIZED_2, 1, B, SIZED_1, 0), 1)).toEqual(['a', '']);
  expect(intIn(parse(INT_1, 0x96, 0x01), 1)).toBe(150);
  expect(intIn(parse(INT_1, ...new Array(9).fill(0xff), 0x01), 1)).toBe(-1);
  expect(textIn(messageIn(parse(SIZED_2, 3, SIZED_1, 1, A), 2), 1)).toBe('a');
  const map = mapIn(parse(SIZED_1, 3, SIZED_1, 1, A, SIZED_1, 5, SIZED_1, 1, B, SIZED_2, 0), 1);
  expect([...map.keys()]).toEqual(['a', 'b']);
  expect(map.get('b')?.size).toBe(0);
});

it('reads what is not there as nothing', () => {
  expect(textIn(parse(), 1)).toBe('');
  expect(intIn(parse(), 1)).toBe(0);
  expect(textIn(messageIn(parse(), 1), 1)).toBe('');
  expect(messagesIn(parse(), 1)).toEqual([]);
});

it('passes over fields of 32 and 64 bits', () => {
  expect(textIn(parse(0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, SIZED_1, 1, A), 1)).toBe('a');
});

it.each([
  ['a text twice', () => textIn(parse(SIZED_1, 1, A, SIZED_1, 1, B), 1), 'field 1 twice'],
  ['a message twice', () => messageIn(parse(SIZED_1, 0, SIZED_1, 0), 1), 'field 1 twice'],
  ['a number twice', () => intIn(parse(INT_1, 1, INT_1, 1), 1), 'field 1 twice'],
  [
    'a key twice',
    () => mapIn(parse(SIZED_1, 3, SIZED_1, 1, A, SIZED_1, 3, SIZED_1, 1, A), 1),
    'a key of field 1',
  ],
  ['a number for a text', () => textsIn(parse(SIZED_1, 1, A, INT_1, 1), 1), 'another wire type'],
  ['a text for a number', () => intIn(parse(SIZED_1, 1, A), 1), 'another wire type'],
  ['a group', () => parse(0x0b, 0x0c), 'wire type 3'],
  ['a text that is none', () => textIn(parse(SIZED_1, 1, 0xff), 1), /encoded data/],
  ['less than its size', () => parse(SIZED_1, 2, A), 'cut short'],
  ['a tag alone', () => parse(INT_1), 'cut short'],
  ['half a tag', () => parse(0x80), 'cut short'],
  ['half a number', () => parse(INT_1, 0x80), 'cut short'],
  ['a number of more than 64 bits', () => parse(INT_1, ...new Array(10).fill(0x80), 0), 'too large'],
  ['a tag of more than 32 bits', () => parse(0x8a, 0x80, 0x80, 0x80, 0x10, 0), 'too large'],
  ['a longer tag', () => parse(0x8a, 0x80, 0x80, 0x80, 0x80, 0x00, 0), 'too large'],
])('refuses %s', (_, read, fault) => {
  expect(read).toThrow(fault);
});

it('refuses more fields than it keeps', () => {
  const most = new Uint8Array(2 ** 19).map((_, at) => (at % 2 ? 0 : SIZED_1));
  expect(messagesIn(parseMessage(most), 1)).toHaveLength(2 ** 18);
  expect(() => parseMessage(Uint8Array.from([...most, INT_1, 0]))).toThrow('more than 262144 fields');
});

/** Numbers that are read straight from the bytes of JSON are those that `Number` makes of their texts, bit by bit. */
import { describe, expect, it } from 'vitest';
import { NumberReader } from '../../shared/contract/json/number-reader.js';
import { IS_LONG } from '../support/long.js';

const BLOCK = 1000;
const BLOCKS = IS_LONG ? 50_000 : 1_000;

/** Returns the numbers of a row; null where the reader finds anything else in it. */
function read(row: string): Float64Array | null {
  const bytes = Buffer.from(`${row}]`);
  const reader = new NumberReader(bytes);
  const count = reader.readRow();
  return count > 0 && reader.at === bytes.length - 1 ? reader.numbers.slice(0, count) : null;
}

function demandEqual(texts: readonly string[]): void {
  const numbers = read(texts.join()) ?? [];
  const wrong = texts.findIndex((text, i) => !Object.is(numbers[i], Number(text)));
  if (wrong >= 0) expect(numbers[wrong], texts[wrong]).toBe(Number(texts[wrong]));
  expect(numbers.length).toBe(texts.length);
}

/** Returns numbers of [0, 1) that look random and are the same in each run (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const seed = IS_LONG ? Math.floor(Math.random() * 2 ** 31) : 1;
const random = randomFrom(seed);
const upTo = (most: number) => Math.floor(random() * (most + 1));
const double = () => random() + random() * 2 ** -32;
const digits = (count: number) => Array.from({ length: count }, () => upTo(9)).join('');
const word = new Uint32Array(2);

/** Returns any finite double, also those below the least normal one. */
function anyDouble(): number {
  word[0] = random() * 2 ** 32;
  word[1] = random() * 2 ** 32;
  const [number = 0] = new Float64Array(word.buffer);
  return Number.isFinite(number) ? number : 0;
}

/** Returns a decimal of so many digits that is as near as it can be to the middle of two neighbouring doubles. */
function nearMiddle(length: number): string {
  const exponent = upTo(30);
  const twos = 54 + Math.ceil(exponent * Math.log2(10));
  const middle =
    (2n * BigInt(Math.floor(double() * 2 ** 52) + 2 ** 52) + 1n) * 10n ** BigInt(length + exponent);
  return `0.${String((middle >> BigInt(twos)) + BigInt(upTo(1))).padStart(length, '0')}e-${exponent}`;
}

const CLASSES: Record<string, () => string> = {
  'a random share, as JSON.stringify writes it': () => JSON.stringify(double()),
  'a float32': () => JSON.stringify(Math.fround(double() * 2 - 1)),
  'a pixel': () => String(upTo(255)),
  'a pixel of 0 to 1': () => JSON.stringify(upTo(255) / 255),
  'some decimals': () => (double() * 10 ** upTo(6) - 5).toFixed(upTo(20)),
  'any double': () => JSON.stringify(anyDouble()),
  'any float32': () => JSON.stringify(Math.fround(double() * 10 ** (upTo(80) - 45))),
  'a long row of digits': () => `${upTo(1) ? '-' : ''}${upTo(9)}.${digits(1 + upTo(24))}`,
  'an integer': () => `${upTo(1) ? '-' : ''}${1 + upTo(8)}${digits(upTo(24))}`,
  'leading zeros': () => `0.${'0'.repeat(upTo(12))}${digits(1 + upTo(19))}`,
  'an exponent': () => `${upTo(9)}.${digits(1 + upTo(17))}${upTo(1) ? 'e' : 'E-'}${upTo(330)}`,
  'a small exponent': () =>
    `${upTo(9)}.${digits(upTo(16))}5e${upTo(1) ? '-' : '+'}${'0'.repeat(upTo(2))}${upTo(48)}`,
  'the middle of two doubles': () => nearMiddle(16 + upTo(2)),
};

describe('a number that is read from bytes', () => {
  it('is the same double as that of its text, whatever the number', () => {
    const makers = Object.values(CLASSES);
    for (let block = 0; block < BLOCKS; block++) {
      const make = makers[block % makers.length] as () => string;
      demandEqual(Array.from({ length: BLOCK }, make));
    }
  });

  it.each(['0', '-0', '-0.0', '0.0', '0e5', '-0E-0', '1e400', '-1e-400', '999999999', '-2147483648'])(
    '%s is read',
    (text) => demandEqual([text]),
  );
  it.each(['4.9e-324', '2.2250738585072011e-308', '1.7976931348623157e308', `0.${'0'.repeat(400)}1`])(
    '%s is read, too',
    (text) => demandEqual([text, `-${text}`]),
  );

  it.each([`0.${'0'.repeat(90)}1e150`, `0.${'0'.repeat(90)}1e91`, `1${'0'.repeat(90)}e-90`])(
    '%s is read although its exponent is taken back',
    (text) => demandEqual([text]),
  );

  it.each([1_000, 10_000, 100_000])('is the same or left to JSON.parse where it has %i digits', (count) => {
    for (const exponent of ['', `e${count}`, `e${10 * count}`, `e-${count}`, `e${'9'.repeat(count)}`]) {
      const text = `0.${'0'.repeat(count)}1${exponent}`;
      expect([null, Number(text)]).toContain(read(text)?.[0] ?? null);
    }
  });

  it('may have white space around it', () =>
    expect(read(' 1 ,\t-2.5\r\n, 3e0 ')).toEqual(Float64Array.of(1, -2.5, 3)));

  it.each([
    ...['-', '.5', '1.', '-.5', '01', '-01', '00', '00.5', '1e', '1.e5', '1e+', '+1', '0x1', '1_0', '--1'],
    ...['1,', ',1', '1,,2', '1 2', '1.5.', '1.5e1.5', '1-', 'NaN', 'Infinity', '-Infinity', '\u00a01'],
  ])('%j is none, as JSON.parse says', (row) => {
    expect(() => JSON.parse(`[${row}]`)).toThrow(SyntaxError);
    expect(read(row)).toBeNull();
  });

  it.each(['', ' ', '"1"', 'null', '[1]', '1,[2]', '1,null'])('%j is left to JSON.parse', (row) =>
    expect(read(row)).toBeNull(),
  );
});

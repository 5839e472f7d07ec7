/**
 * Reading numbers of JSON (RFC 8259, section 6) straight from bytes.
 *
 * Promise: each number is the very double that `Number` makes of its text, the sign of zero included. The digits of a number are
 * an integer, `high · 10^n + low`, and a power of ten divides it. With at most 15 digits both are exact, so one division rounds
 * once (W. D. Clinger, "How to read floating point numbers accurately", 1990). With at most 18 digits the remainder corrects the
 * quotient (T. J. Dekker, "A floating-point technique for extending the available precision", 1971). `Number` reads the rest:
 * longer numbers, those with an exponent, and the few that the correction leaves in doubt.
 */
import { skipSpace } from './json-text.js';

const ZERO = 0x30;
const NINE = 0x39;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const LOWER_E = 0x65;
const LOWER_CASE = 0x20;
const COMMA = 0x2c;

/** An integer of so many digits is below 2^53. */
const EXACT_DIGITS = 15;
/** Each of the two parts has so many digits at most, so it is an integer of 32 bits. */
const PART_DIGITS = 9;
/** Powers of ten up to this one are doubles, exactly. */
const EXACT_POWER = 22;
/** With 17 digits behind the point, this power reaches the least number of float32. */
const MAX_POWER = 62;
const EXACT_POWERS = Array.from({ length: MAX_POWER + 1 }, (_, power) => 10n ** BigInt(power));
const POWERS = Float64Array.from(EXACT_POWERS, Number);
/** The powers minus their doubles. */
const REST_OF_POWERS = Float64Array.from(EXACT_POWERS, (exact, power) =>
  Number(exact - BigInt(POWERS[power] ?? 0)),
);
/** Stands for any exponent that is larger than a number has digits, and for one that is missing. */
const BEYOND = 2 ** 40;
/** A longer number is left to JSON.parse. */
const MAX_TEXT = 1000;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Splits a double into halves of 26 bits: products of halves are exact. */
const SPLITTER = 2 ** 27 + 1;
const UPPER_HALVES = POWERS.map((power) => SPLITTER * power - (SPLITTER * power - power));
/** More than the error of a corrected quotient, which is less than 2^-103 of it. */
const DOUBT = 2 ** -100;

/** All texts are read into this room, one after the other. A text with more numbers than it takes gets room of its own. */
const ROOM = new Float64Array(2 ** 16);

/** The numbers of one text; its owner moves `at`, which is the place of the next byte, and sets `count` back to forget numbers. */
export class NumberReader {
  at = 0;
  /** How many numbers were read. */
  count = 0;
  /** The numbers that were read, in a room that the next reader of a text uses again. */
  numbers: Float64Array = ROOM;
  readonly #view: DataView;
  /** The exponent of the number that is being read. */
  #exponent = 0;

  /** @param bytes must end with a byte that is in no number, so that no number can be cut off */
  constructor(readonly bytes: Buffer) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Steps over a byte, and white space before it, where it is the next one; tells whether it was. */
  take(byte: number): boolean {
    this.at = skipSpace(this.bytes, this.at);
    if (this.bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  /** Reads numbers with commas in between. Returns how many they are; 0 where one is missing or is no number of JSON. */
  readRow(): number {
    const { bytes } = this;
    const view = this.#view;
    let numbers = this.numbers;
    const lastFour = bytes.length - 4;
    let next = this.count;
    // This loop costs most of a submit. It is one function because calls that the compiler does not inline cost a third more.
    for (let i = skipSpace(bytes, this.at); ; i = skipSpace(bytes, i + 1)) {
      const start = i;
      let byte = bytes[i] as number;
      const isNegative = byte === MINUS;
      if (isNegative) byte = bytes[++i] as number;
      const first = i;
      let high = 0;
      for (; byte >= ZERO && byte <= NINE; byte = bytes[++i] as number)
        high = (Math.imul(high, 10) + byte - ZERO) | 0;
      let digits = i - first;
      if (digits === 0) return 0;
      const isShort = digits <= PART_DIGITS && (digits === 1 || bytes[first] !== ZERO);
      let low = 0;
      let lowDigits = 0;
      let power = 0;
      if (byte === POINT) {
        const point = i++;
        if (high === 0) for (digits = 0; bytes[i] === ZERO; i++);
        for (; digits + 4 <= PART_DIGITS && i <= lastFour; digits += 4, i += 4) {
          const four = fourDigitsAt(view, i);
          if (four < 0) break;
          high = (Math.imul(high, 10_000) + four) | 0;
        }
        const middle = i;
        for (; digits + 4 > PART_DIGITS && i - middle <= 4 && i <= lastFour; i += 4) {
          const four = fourDigitsAt(view, i);
          if (four < 0) break;
          low = (Math.imul(low, 10_000) + four) | 0;
        }
        for (byte = bytes[i] as number; byte >= ZERO && byte <= NINE; byte = bytes[++i] as number)
          low = (Math.imul(low, 10) + byte - ZERO) | 0;
        lowDigits = i - middle;
        power = i - point - 1;
        if (power === 0) return 0;
      }
      if ((byte | LOWER_CASE) === LOWER_E) {
        i = this.#readExponent(i);
        power -= this.#exponent;
      }
      if (next === numbers.length) numbers = this.#grow();
      let number = isShort ? high : Number.NaN;
      if (isShort && (power !== 0 || lowDigits !== 0)) number = divided(high, low, digits, lowDigits, power);
      if (Number.isNaN(number)) {
        i = this.#readText(start, next);
        if (i < 0) return 0;
      } else numbers[next] = isNegative ? -number : number;
      next++;
      if (bytes[i] !== COMMA) i = skipSpace(bytes, i);
      if (bytes[i] === COMMA) continue;
      const count = next - this.count;
      this.at = i;
      this.count = next;
      return count;
    }
  }

  /** Makes a room of twice the size. */
  #grow(): Float64Array {
    const larger = new Float64Array(2 * this.numbers.length);
    larger.set(this.numbers);
    this.numbers = larger;
    return larger;
  }

  /** Returns the place behind the exponent that begins at `at`, and keeps it. */
  #readExponent(at: number): number {
    const { bytes } = this;
    const isNegative = bytes[at + 1] === MINUS;
    const first = isNegative || bytes[at + 1] === PLUS ? at + 2 : at + 1;
    let i = first;
    let exponent = 0;
    for (let byte = bytes[i] as number; byte >= ZERO && byte <= NINE; byte = bytes[++i] as number)
      exponent = Math.min(10 * exponent + byte - ZERO, BEYOND);
    if (i === first) exponent = BEYOND;
    this.#exponent = isNegative ? -exponent : exponent;
    return i;
  }

  /** Reads a number by way of its text, and returns the place behind it; -1 for what is no number. */
  #readText(start: number, index: number): number {
    const { bytes } = this;
    let end = start;
    while (isInNumber(bytes[end] as number)) end++;
    if (end - start > MAX_TEXT) return -1;
    const text = bytes.toString('latin1', start, end);
    if (!NUMBER.test(text)) return -1;
    this.numbers[index] = Number(text);
    return end;
  }
}

/** Returns the integer that four digits write; -1 where one of them is no digit. */
function fourDigitsAt(view: DataView, at: number): number {
  const digits = view.getInt32(at, true) ^ 0x30303030;
  if ((((digits + 0x76767676) | digits) & 0x80808080) !== 0) return -1;
  const pairs = Math.imul(digits, 10) + (digits >>> 8);
  return Math.imul(pairs & 0xff, 100) + ((pairs >>> 16) & 0xff);
}

/**
 * Returns the double nearest to `(high · 10^lowDigits + low) / 10^power`, which has `digits + lowDigits` digits; NaN where only its
 * text can tell.
 */
function divided(high: number, low: number, digits: number, lowDigits: number, power: number): number {
  if (lowDigits > PART_DIGITS || power > MAX_POWER || power < -EXACT_POWER) return Number.NaN;
  const scale = POWERS[lowDigits] as number;
  if (digits + lowDigits <= EXACT_DIGITS && power <= EXACT_POWER) {
    const integer = high * scale + low;
    return power < 0 ? integer * (POWERS[-power] as number) : integer / (POWERS[power] as number);
  }
  if (power < 0) return Number.NaN;
  // The dividend is upper + lower, both exact; then it is dividend + missing, exactly.
  const upper = (high & ~0x7fff) * scale;
  const lower = (high & 0x7fff) * scale + low;
  const dividend = upper + lower;
  return quotient(dividend, lower - (dividend - upper), power);
}

/** Returns the double nearest to `(dividend + missing) / 10^power`; NaN where it may be the middle of two. */
function quotient(dividend: number, missing: number, power: number): number {
  const divisor = POWERS[power] as number;
  const rough = dividend / divisor;
  const product = rough * divisor;
  const split = SPLITTER * rough;
  const upper = split - (split - rough);
  const lower = rough - upper;
  const divisorUpper = UPPER_HALVES[power] as number;
  const divisorLower = divisor - divisorUpper;
  const tooMuch =
    upper * divisorUpper - product + upper * divisorLower + lower * divisorUpper + lower * divisorLower;
  const remainder = dividend - product - tooMuch + (missing - rough * (REST_OF_POWERS[power] as number));
  const correction = remainder / divisor;
  const doubt = rough * DOUBT;
  const nearest = rough + (correction + doubt);
  return nearest === rough + (correction - doubt) ? nearest : Number.NaN;
}

function isInNumber(byte: number): boolean {
  return (
    (byte >= ZERO && byte <= NINE) ||
    byte === MINUS ||
    byte === PLUS ||
    byte === POINT ||
    (byte | LOWER_CASE) === LOWER_E
  );
}

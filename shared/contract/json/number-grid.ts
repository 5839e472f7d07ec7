/**
 * Number grids: numbers that JSON nests as rectangular arrays, kept side by side instead of in arrays of arrays.
 */
import type { NumberReader } from './number-reader.js';

const OPEN = 0x5b;
const CLOSE = 0x5d;
const COMMA = 0x2c;

/** Stands for nested arrays of numbers in a parsed value. It has no enumerable properties, and `JSON.stringify` writes the arrays. */
export class NumberGrid {
  readonly #numbers: Float64Array;
  readonly #start: number;
  readonly #shape: readonly number[];

  /**
   * @param numbers row by row; those of this grid begin at `start`
   * @param shape sizes of the levels, outermost first: one at least, and none is 0
   */
  constructor(numbers: Float64Array, start: number, shape: readonly number[]) {
    this.#numbers = numbers;
    this.#start = start;
    this.#shape = shape;
  }

  get shape(): readonly number[] {
    return this.#shape;
  }

  /** The numbers row by row, as JSON.parse would make them: Infinity for 1e400, and -0 is kept. It is a view, not a copy. */
  get numbers(): Float64Array {
    return this.#numbers.subarray(this.#start, this.#start + sizeOf(this.#shape));
  }

  /** Returns the elements of the outermost array: numbers, or grids of one level less. */
  items(): (number | NumberGrid)[] {
    const [length = 0, ...rest] = this.#shape;
    if (rest.length === 0) return listOf(this.numbers);
    const size = sizeOf(rest);
    return Array.from({ length }, (_, i) => new NumberGrid(this.#numbers, this.#start + i * size, rest));
  }

  /** Returns the nested arrays. */
  toJSON(): unknown[] {
    return this.items().map((item) => (typeof item === 'number' ? item : item.toJSON()));
  }
}

/**
 * Reads the nested arrays at the place of `reader`, and moves it behind them. Returns null for anything but numbers in arrays of
 * equal length, none of them empty.
 *
 * @param maxDepth how deep they may nest
 */
export function readGrid(reader: NumberReader, maxDepth: number): NumberGrid | null {
  reader.count = 0;
  const shape: number[] = [];
  /** The lengths so far of the arrays that are open, outermost first. */
  const lengths: number[] = [];
  let rank = 0;
  do {
    while (lengths.length <= maxDepth && reader.take(OPEN)) lengths.push(0);
    rank ||= lengths.length;
    if (lengths.length !== rank || rank === 0 || rank > maxDepth) return null;
    const row = reader.readRow();
    if (row === 0) return null;
    lengths[rank - 1] = row;
    while (reader.take(CLOSE)) {
      const length = lengths.pop() as number;
      const level = lengths.length;
      shape[level] ??= length;
      if (shape[level] !== length) return null;
      if (level === 0) return new NumberGrid(reader.numbers.slice(0, reader.count), 0, shape);
      lengths[level - 1] = (lengths[level - 1] as number) + 1;
    }
  } while (reader.take(COMMA));
  return null;
}

/** Returns the numbers in an array. Array.from takes eight times as long. */
export function listOf(numbers: Float32Array | Float64Array): number[] {
  const list = new Array<number>(numbers.length);
  for (let i = 0; i < numbers.length; i++) list[i] = numbers[i] as number;
  return list;
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/**
 * Nested arrays as callers send them: their shape is checked, and their elements are handed on row by row.
 */
import type { TensorSpec } from '../models/manifest.js';
import { type Checker, compileSchema, type JsonSchema, kindOf } from '../schema.js';
import { fail, InputFault } from './input-value.js';
import { nestedSchema, nestingsOf } from './signature.js';

/**
 * Takes the elements of an innermost array, of which the first is the one at `offset` of the whole value. `pathOf` returns the
 * place of each in the body.
 */
export type TakeRow = (row: readonly unknown[], offset: number, pathOf: (index: number) => string) => void;

export interface NestingReader {
  /** The sizes of a value, where the signature leaves none open. */
  fixed: number[] | null;
  /** @throws {InputFault} for a value whose nesting or elements the signature does not admit */
  check(value: unknown, path: string): void;
  /**
   * Hands on the rows of a value that was checked.
   * @throws {InputFault} where rows differ in length, or there are too few or too many elements
   */
  read(value: unknown, shape: readonly number[], length: number, path: string, take: TakeRow): void;
}

/**
 * Returns the reader of one input. Its schemas, one for each admitted rank, are compiled here once.
 * @param element is the schema of each element
 * @param what says what the value must be, before its nesting and after it
 */
export function createNestingReader(
  spec: TensorSpec,
  element: JsonSchema,
  what: readonly [string, string],
): NestingReader {
  const nestings = nestingsOf(spec);
  const checkers = new Map<number, Checker>(
    nestings.map((nesting) => [nesting.sizes.length, compileSchema(nestedSchema(element, nesting))]),
  );
  const shapes = nestings.map(({ sizes }) => `[${sizes.map((size) => size ?? '*').join(', ')}]`);
  const expected = `must be ${what[0]} nested as ${shapes.join(' or ')}, ${what[1]}`;
  const fixed = spec.shape.every((size) => size !== null) ? (spec.shape as number[]) : null;
  return {
    fixed,
    check(value, path) {
      if (!Array.isArray(value) && spec.shape.length > 0) fail(path, `${expected}; got ${kindOf(value)}`);
      const check = checkers.get(rankOf(value));
      if (!check) fail(path, `${expected}; got ${rankOf(value)} levels of nesting`);
      const fault = check(value, path);
      if (fault) throw new InputFault(fault);
    },
    read(value, shape, length, path, take) {
      const read = readRows(value, 0, fixed ? null : shape, path, take);
      if (read !== length) fail(path, `${expected}; got ${read} values`);
    },
  };
}

/** Returns the sizes of nested arrays, by the first of each. */
export function shapeOfNested(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOfNested(value[0])] : [];
}

function rankOf(value: unknown): number {
  return Array.isArray(value) ? 1 + rankOf(value[0]) : 0;
}

/**
 * Returns the offset behind the elements of `value`.
 * @param shape is given where the schema leaves sizes open; every level must then measure it, so ragged rows are refused
 */
function readRows(
  value: unknown,
  offset: number,
  shape: readonly number[] | null,
  path: string,
  take: TakeRow,
): number {
  if (!Array.isArray(value)) {
    take([value], offset, () => path);
    return offset + 1;
  }
  if (shape && value.length !== shape[0])
    fail(path, `has ${value.length} elements where its first neighbour has ${shape[0]}`);
  if (!Array.isArray(value[0])) {
    take(value, offset, (index) => `${path}/${index}`);
    return offset + value.length;
  }
  const inner = shape?.slice(1) ?? null;
  let next = offset;
  for (const [index, item] of value.entries()) next = readRows(item, next, inner, `${path}/${index}`, take);
  return next;
}

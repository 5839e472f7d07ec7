/** Stacking and splitting, against a plain computation over arbitrary rows. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import {
  type Instance,
  isTensor,
  packInstances,
  toNested,
  unpackInstances,
  type Value,
} from '../../shared/contract/tensors/tensor.js';
import { finiteRows, split, stack } from '../../worker/backends/tensors.js';

function row(values: readonly number[], shape: readonly number[] = [values.length]): Instance {
  return { x: { dtype: 'float32', shape, data: toBytes(Float32Array.from(values)) } };
}

function numbersOf(value: Value | undefined): number[] {
  if (!value || !isTensor(value)) throw new Error('no tensor');
  return [toNested(value)].flat(9) as number[];
}

describe('stack and split', () => {
  it('are inverse to each other for any rows', () => {
    const rows = fc
      .integer({ min: 1, max: 7 })
      .chain((length) =>
        fc.array(fc.array(fc.float(), { minLength: length, maxLength: length }), { minLength: 1 }),
      );
    fc.assert(
      fc.property(rows, (given) => {
        const batch = stack(
          given.map((values) => row(values)),
          'x',
        );
        expect(batch.shape).toEqual([given.length, given[0]?.length]);
        expect(split(batch).map(numbersOf)).toEqual(given);
      }),
    );
  });

  it('keep dtype and shape, also of scalars and of integers', () => {
    const scalar = stack([row([1], []), row([2], [])], 'x');
    expect(scalar).toMatchObject({ dtype: 'float32', shape: [2] });
    expect(split(scalar).map((value) => value.shape)).toEqual([[], []]);
    const value: Value = { dtype: 'int32', shape: [1, 2], data: toBytes(Int32Array.from([-5, 7])) };
    const integers = stack([{ x: value }, { x: value }], 'x');
    expect(integers).toMatchObject({ shape: [2, 1, 2], data: Int32Array.from([-5, 7, -5, 7]) });
  });

  it('take bytes that are not aligned, and leave the rows as views into the batch', () => {
    const bytes = new Uint8Array(13);
    bytes.set(toBytes(Float32Array.from([1, 2, 3])), 1);
    const batch = stack([{ x: { dtype: 'float32', shape: [3], data: bytes.subarray(1) } }], 'x');
    expect(batch.data).toEqual(Float32Array.from([1, 2, 3]));
    expect(split(batch)[0]?.data.buffer).toBe((batch.data as Float32Array).buffer);
  });

  it.each([
    ['another shape', row([1, 2, 3, 4], [2, 2])],
    ['another rank', row([1, 2, 3, 4], [4, 1])],
    ['too few bytes', { x: { dtype: 'float32', shape: [4], data: new Uint8Array(12) } } as Instance],
    ['another dtype', { x: { dtype: 'int32', shape: [4], data: new Uint8Array(16) } } as Instance],
    ['no value', {} as Instance],
  ])('refuse %s', (_, odd) => {
    expect(() => stack([row([1, 2, 3, 4]), odd], 'x')).toThrow(/instance 1/);
    if ('x' in odd && odd.x?.data.byteLength === 12) expect(() => stack([odd], 'x')).toThrow();
  });

  it('refuse an image that was not decoded', () => {
    const image: Value = { dtype: 'image', shape: [1, 1, 3], data: new Uint8Array(3) };
    expect(() => stack([{ x: image }], 'x')).toThrow(/not decoded/);
  });
});

describe('finiteRows', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'finds the row with %s',
    (bad) => {
      const batch = stack([row([1, -0]), row([3e38, bad]), row([-3e38, 1e-45])], 'x');
      expect(finiteRows(batch)).toEqual([true, false, true]);
    },
  );

  it('takes every row of integers and of finite floats', () => {
    expect(finiteRows({ dtype: 'int32', shape: [2], data: Int32Array.from([1, 2]) })).toEqual([true, true]);
    expect(finiteRows(stack([row([0]), row([-1])], 'x'))).toEqual([true, true]);
  });
});

describe('numbers of an output', () => {
  it('are read back from JSON bit by bit', () => {
    const values = new Float32Array([
      6e-7, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, 0.1, 16777217, -2.5e-10,
    ]);
    const value = { dtype: 'float32' as const, shape: [values.length], data: toBytes(values) };
    const read = Float32Array.from(JSON.parse(JSON.stringify(toNested(value))) as number[]);
    expect(Buffer.from(toBytes(read)).equals(Buffer.from(toBytes(values)))).toBe(true);
  });

  it('are nested in their shape, whatever it is', () => {
    const nested = (values: readonly number[], [size = 0, ...rest]: readonly number[]): unknown => {
      const stride = rest.reduce((product, each) => product * each, 1);
      const part = (i: number) => values.slice(i * stride, (i + 1) * stride);
      return Array.from({ length: size }, (_, i) => (rest.length === 0 ? values[i] : nested(part(i), rest)));
    };
    fc.assert(
      fc.property(fc.array(fc.nat(4), { minLength: 1, maxLength: 4 }), (shape) => {
        const length = shape.reduce((product, size) => product * size, 1);
        const values = Array.from({ length }, (_, i) => i);
        const value = { dtype: 'float32' as const, shape, data: toBytes(Float32Array.from(values)) };
        expect(toNested(value)).toEqual(nested(values, shape));
      }),
    );
    expect(toNested({ dtype: 'float32', shape: [], data: toBytes(Float32Array.of(7)) })).toBe(7);
  });

  it('show NaN and Infinity as the model says, in every shape', () => {
    const values = new Float32Array([Number.NaN, 1, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
    const y = (nonFinite: 'null' | 'string', shape: number[]) => {
      const [instance] = unpackInstances(
        packInstances([{ y: { dtype: 'float32', shape, data: toBytes(values), nonFinite } }]),
      );
      return JSON.parse(JSON.stringify(toNested(instance?.y as Value)));
    };
    expect(y('null', [4])).toEqual([null, 1, null, null]);
    expect(y('string', [2, 2])).toEqual([
      ['NaN', 1],
      ['-Infinity', 'Infinity'],
    ]);
  });
});

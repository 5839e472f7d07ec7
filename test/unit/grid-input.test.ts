/** Inputs whose numbers came as grids become the same bytes as those that came as arrays, or are refused in the same words. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson } from '../../shared/contract/json/json.js';
import { NumberGrid } from '../../shared/contract/json/number-grid.js';
import { parseSubmit } from '../../shared/contract/json/submit-json.js';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { DTYPES } from '../../shared/contract/tensors/dtypes.js';
import { createGridEncoder } from '../../shared/contract/tensors/grid-input.js';
import { createInputEncoder, type InputEncoder } from '../../shared/contract/tensors/input.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';

function manifestOf(...inputs: TensorSpec[]): Manifest {
  return {
    name: 'm',
    version: 1,
    format: 'layers',
    signature: { inputs, outputs: [{ name: 'y', dtype: 'float32', shape: [1] }] },
    batching: { maxBatchSize: 4, maxDelayMs: 1 },
    files: { 'model.json': '' },
  };
}

const inputsOf = (dtype: TensorSpec['dtype']): TensorSpec[] => [
  { name: 'x', dtype, shape: [2] },
  { name: 'x', dtype, shape: [] },
  { name: 'x', dtype, shape: [4], accepts: [[2, 2]] },
  { name: 'x', dtype, shape: [4], accepts: [[2, 1]] },
  { name: 'x', dtype, shape: [null, 2], maxShape: [2, 2] },
  { name: 'x', dtype, shape: [null] },
  { name: 'shape', dtype, shape: [2] },
];
const MANIFESTS = [
  ...DTYPES.flatMap((dtype) => inputsOf(dtype)).map((spec) => manifestOf(spec)),
  manifestOf({ name: 'x', dtype: 'image', shape: [null, null, 3], maxShape: [8, 8, 3] }),
  manifestOf({ name: 'x', dtype: 'float32', shape: [2] }, { name: 'numbers', dtype: 'int64', shape: [1] }),
];
const ENCODERS = MANIFESTS.map((manifest) => createInputEncoder(manifest, readImageHeader));

/** Returns the packed instances, or the faults that are told. */
async function encoded(encoder: InputEncoder, body: unknown): Promise<unknown> {
  const { instances } = body as { instances: unknown[] };
  return encoder.encode(instances).then(
    (done) => packInstances(done).toString('latin1'),
    ({ code, faults }) => ({ code, faults }),
  );
}

const number = fc.oneof(
  fc.constantFrom(
    '0',
    '1',
    '-0',
    '1.0',
    '0.5',
    '255',
    '-128',
    '32768',
    '4294967295',
    '1e400',
    '3.4028235e38',
  ),
  fc.constantFrom(
    '3.4028234663852887e38',
    '9007199254740991',
    '-9007199254740991',
    '9007199254740992',
    '1e-400',
  ),
);
const arrayOf = (item: fc.Arbitrary<string>, most: number) =>
  fc.array(item, { minLength: 1, maxLength: most }).map((items) => `[${items}]`);
const even = (row: fc.Arbitrary<string>) =>
  fc.tuple(row, fc.integer({ min: 1, max: 3 })).map(([item, count]) => `[${Array(count).fill(item)}]`);
const value = fc.oneof(number, arrayOf(number, 4), even(arrayOf(number, 2)), arrayOf(arrayOf(number, 2), 2));
const instance = fc.oneof(
  value,
  fc.record({ x: value }),
  fc.record({ x: value, numbers: value }),
  fc.record({ shape: value }),
);
const body = fc.array(instance, { minLength: 1, maxLength: 3 }).map((items) => {
  const texts = items.map((item) =>
    typeof item === 'string' ? item : `{${Object.entries(item).map(([name, text]) => `"${name}":${text}`)}}`,
  );
  return Buffer.from(`{"instances":[${texts}]}`);
});

describe('an input of numbers', () => {
  it('is the same, be it read into grids or into arrays', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...ENCODERS), body, async (encoder, bytes) => {
        const inGrids = await encoded(encoder, parseSubmit(bytes, 8, 'The body').value);
        expect(inGrids).toEqual(await encoded(encoder, parseJson(bytes, 8, 'The body')));
      }),
      { numRuns: 1000 },
    );
  });

  it.each(DTYPES.filter((dtype) => dtype !== 'string'))('is copied from a grid as %s', async (dtype) => {
    const spec: TensorSpec = { name: 'x', dtype, shape: [null, 2], maxShape: [2, 2] };
    const copied = createGridEncoder(spec)(new NumberGrid(Float64Array.of(9, 0, 1, 1, 0), 1, [2, 2]));
    const rows = [
      [0, 1],
      [1, 0],
    ];
    const [encoded] = await createInputEncoder(manifestOf(spec), readImageHeader).encode([rows]);
    expect(copied).toEqual(encoded?.x);
  });

  it.each([[[3, 2]], [[2, 3]], [[4]], [[1, 2, 2]]])('is not copied from a grid of the shape %j', (shape) => {
    const spec: TensorSpec = { name: 'x', dtype: 'int64', shape: [null, 2], maxShape: [2, 2] };
    expect(createGridEncoder(spec)(new NumberGrid(new Float64Array(6), 0, shape))).toBeNull();
  });
});

/** Strings, and integers and floats of every width, between JSON and bytes. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SluiceError } from '../../shared/contract/errors.js';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { DTYPES, type Dtype } from '../../shared/contract/tensors/dtypes.js';
import { toBytes, toElements } from '../../shared/contract/tensors/elements.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import type { FindFile } from '../../shared/contract/tensors/input-value.js';
import { presentPredictions } from '../../shared/contract/tensors/prediction.js';
import { publishedSchemas } from '../../shared/contract/tensors/signature.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import { agrees } from '../../shared/core/models/shadows.js';
import { readImageHeader } from '../../shared/images/image.js';
import { split, stack } from '../../worker/backends/tensors.js';

/** A model that gives back what it is given. */
function manifestOf(
  spec: Partial<TensorSpec> & { dtype: Dtype },
  format: Manifest['format'] = 'saved_model',
) {
  const own = { name: 'x', shape: [2], ...spec };
  const { maxBytes: _, ...output } = own;
  const entry = format === 'saved_model' ? 'saved_model.pb' : 'model.json';
  return {
    name: 'm',
    version: 1,
    format,
    signature: { inputs: [own], outputs: [output] },
    batching: { maxBatchSize: 4, maxDelayMs: 1 },
    files: { [entry]: '0'.repeat(64) },
  } satisfies Manifest;
}

const findFile: FindFile = async (id) =>
  id === 'bytes' ? { bytes: 3, read: async () => new Uint8Array([0xff, 0, 1]) } : 'there is no such file';

const encode = (manifest: Manifest, instances: unknown[]) =>
  createInputEncoder(manifest, readImageHeader).encode(instances, '/instances', findFile);

/** Returns instances as they come back: packed and shown as JSON. */
async function echo(manifest: Manifest, instances: unknown[]): Promise<unknown[]> {
  const encoded = await encode(manifest, JSON.parse(JSON.stringify(instances)));
  return JSON.parse(JSON.stringify(presentPredictions(packInstances(encoded))));
}

async function faultOf(manifest: Manifest, instance: unknown): Promise<string> {
  const error = await encode(manifest, [instance]).then(
    () => null,
    (reason: SluiceError) => reason,
  );
  const [{ path, message } = { path: '', message: 'none' }] = error?.faults ?? [];
  return `${path} ${message}`;
}

const LIMITS: [Dtype, unknown, unknown, unknown, unknown][] = [
  ['int8', -128, 127, -129, 128],
  ['int16', -32768, 32767, -32769, 32768],
  ['int32', -2147483648, 2147483647, -2147483649, 2147483648],
  ['int64', '-9223372036854775808', '9223372036854775807', '-9223372036854775809', '9223372036854775808'],
  ['uint8', 0, 255, -1, 256],
  ['uint16', 0, 65535, -1, 65536],
  ['uint32', 0, 4294967295, -1, 4294967296],
  ['uint64', 0, '18446744073709551615', '-1', '18446744073709551616'],
  ['float64', -Number.MAX_VALUE, 5e-324, '1', 'NaN'],
];

describe.each(LIMITS)('%s', (dtype, least, most, below, above) => {
  it('keeps its limits, alone, in a batch and as raw bytes, and refuses what is beyond', async () => {
    const manifest = manifestOf({ dtype });
    expect(await echo(manifest, [[least, most]])).toEqual([[least, most]]);
    const encoded = await encode(manifest, [
      [least, most],
      [most, least],
    ]);
    const rows = split(stack(encoded, 'x')).map((x) => ({ x }));
    expect(presentPredictions(packInstances(rows))).toEqual([
      [least, most],
      [most, least],
    ]);
    const b64 = Buffer.from(encoded[0]?.x?.data as Uint8Array).toString('base64');
    expect(await echo(manifest, [{ b64 }])).toEqual([[least, most]]);
    for (const [i, bad] of [below, above].entries()) {
      const pair = [most, most].with(i, bad);
      expect(await faultOf(manifest, pair)).toMatch(new RegExp(`^/instances/0/${i} must be `));
    }
  });
});

describe('int64', () => {
  const manifest = manifestOf({ dtype: 'int64' });

  it('is a number up to 2^53 - 1 and its digits beyond; as input both are taken', async () => {
    const given = ['9007199254740991', 9007199254740991];
    expect(await echo(manifest, [given, ['9007199254740993', '-5']])).toEqual([
      [9007199254740991, 9007199254740991],
      ['9007199254740993', -5],
    ]);
  });

  it.each([
    [[1, 2 ** 53], '/instances/0/1 is beyond 2^53 - 1, where numbers of JSON are not exact; send a string'],
    [[1, 1.5], '/instances/0/1 must be integer or string; got a number'],
    [['0x10', 1], '/instances/0/0 must be an integer, as a number or as a string of its digits'],
    [['', 1], '/instances/0/0 must be an integer'],
    [['007', 1], '/instances/0/0 must be an integer'],
    [[1, null], '/instances/0/1 must be integer or string; got null'],
    [[1], '/instances/0 must have at least 2 items'],
  ])('refuses %j', async (instance, message) => {
    expect(await faultOf(manifest, instance)).toContain(message);
  });

  it('takes what the published schema takes, but for the last digits', async () => {
    const validate = new Ajv2020({ strict: false }).compile(publishedSchemas(manifest).instance as object);
    const element = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
      fc.double({ noNaN: true }),
      fc.integer(),
      fc.constantFrom(null, '1e3', '-0', 2 ** 53, true, ' 1'),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(element, { minLength: 1, maxLength: 3 }), async (instance) => {
        expect((await faultOf(manifest, instance)) === ' none').toBe(validate(instance));
      }),
    );
  });
});

describe('floats', () => {
  it('keep the sign of zero, and float64 every bit', async () => {
    for (const dtype of ['float32', 'float64'] as const) {
      const [instance] = await encode(manifestOf({ dtype }), [JSON.parse('[-0, 0.1]')]);
      const [zero, tenth] = toElements(dtype, instance?.x?.data as Uint8Array);
      expect(Object.is(zero, -0)).toBe(true);
      expect(tenth).toBe(dtype === 'float64' ? 0.1 : Math.fround(0.1));
    }
  });

  it('of 64 bits have no NaN in raw bytes, and any bits in JSON', async () => {
    const manifest = manifestOf({ dtype: 'float64' });
    const raw = Buffer.from(new Float64Array([1, Number.NaN]).buffer).toString('base64');
    expect(await faultOf(manifest, { b64: raw })).toBe('/instances/0/b64 element 1 is NaN or Infinity');
    await fc.assert(
      fc.asyncProperty(fc.double({ noNaN: true, noDefaultInfinity: true }), async (number) => {
        expect(await echo(manifest, [[number, 1]])).toEqual([[number + 0 === 0 ? 0 : number, 1]]);
      }),
    );
  });
});

describe('strings', () => {
  const PAIR = manifestOf({ dtype: 'string' });
  const SCALAR = manifestOf({ dtype: 'string', shape: [] });
  const VARYING = manifestOf({ dtype: 'string', shape: [null], maxShape: [3], maxBytes: 4 });
  const BYTES = { b64: '/wAB' };

  it('come back as text where they are UTF-8, else as base64', async () => {
    expect(
      await echo(PAIR, [
        ['größe 🦒', ''],
        ['\u0000"\\', BYTES],
      ]),
    ).toEqual([
      ['größe 🦒', ''],
      ['\u0000"\\', BYTES],
    ]);
    expect(await echo(PAIR, [[{ b64: 'aGk=' }, { file: 'bytes' }]])).toEqual([['hi', BYTES]]);
  });

  it('alone may be bytes, a file, or stand under their name', async () => {
    const all = ['hi', { b64: 'aGk=' }, { file: 'bytes' }, { x: 'hi' }, { x: BYTES }];
    expect(await echo(SCALAR, all)).toEqual(['hi', 'hi', BYTES, 'hi', BYTES]);
    const named = manifestOf({ dtype: 'string', shape: [], name: 'b64' });
    expect(await echo(named, [{ b64: 'aGk=' }, { b64: { b64: 'aGk=' } }, 'aGk='])).toEqual([
      'hi',
      'hi',
      'aGk=',
    ]);
  });

  it.each([
    [PAIR, ['a', 5], '/instances/0/1 must be string or object; got a number'],
    [PAIR, ['a', null], '/instances/0/1 must be string or object; got null'],
    [PAIR, 'a', '/instances/0 must be strings nested as [2], each of them text, {"b64": …} or {"file": …}'],
    [PAIR, BYTES, '/instances/0 must be strings nested as [2]'],
    [PAIR, ['a', {}], '/instances/0/1 must be text, {"b64": …} or {"file": …}; got an object'],
    [PAIR, ['a', { b64: '@' }], '/instances/0/1/b64 must be base64'],
    [PAIR, ['a', { b64: '', file: 'bytes' }], '/instances/0/1/file is not a field of a string'],
    [PAIR, ['a', { file: 'gone' }], '/instances/0/1/file there is no such file'],
    [SCALAR, { y: 'a' }, '/instances/0 must be text'],
    [VARYING, ['a', 'b', 'c', 'd'], '/instances/0 must have at most 3 items'],
    [VARYING, ['a', 'größe'], '/instances/0/1 has 7 bytes, more than 4'],
  ])('are refused: %#', async (manifest, instance, message) => {
    expect(await faultOf(manifest, instance)).toContain(message);
  });

  it('are bounded before a file is read', async () => {
    const manifest = manifestOf({ dtype: 'string', shape: [], maxBytes: 2 });
    let reads = 0;
    const find: FindFile = async () => ({
      bytes: 3,
      read: async () => {
        reads++;
        return new Uint8Array(3);
      },
    });
    const refused = createInputEncoder(manifest, readImageHeader).encode([{ file: 'x' }], '', find);
    await expect(refused).rejects.toMatchObject({
      faults: [{ path: '/0', message: 'has 3 bytes, more than 2' }],
    });
    expect(reads).toBe(0);
  });

  it('are described by the published schema', async () => {
    const { instance, prediction } = publishedSchemas(SCALAR);
    const takes = (schema: unknown, value: unknown) =>
      new Ajv2020({ strict: false }).compile(schema as object)(value);
    expect(['a', BYTES, { x: 'a' }, 5, ['a']].map((value) => takes(instance, value))).toEqual([
      ...[true, true, true, false, false],
    ]);
    expect(['a', BYTES, 5].map((value) => takes(prediction, value))).toEqual([true, true, false]);
  });

  it('share a batch whatever their length, and zeros are empty ones', async () => {
    const text = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 2, maxLength: 2 });
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (given) => {
        const rows = given.map((data) => ({
          x: { dtype: 'string' as const, shape: [2], data: toBytes(data) },
        }));
        const batch = stack(rows, 'x');
        expect(batch.shape).toEqual([given.length, 2]);
        expect(split(batch).map(({ data }) => toElements('string', data))).toEqual(given);
      }),
    );
    const many = stack([{ x: { dtype: 'string', shape: [300_000], data: new Uint8Array(1_200_000) } }], 'x');
    expect(many.data).toHaveLength(300_000);
    expect(toElements('string', new Uint8Array(8))).toEqual([new Uint8Array(0), new Uint8Array(0)]);
  });

  it('agree with a shadow when they are the same', async () => {
    const [a, b, c] = await encode(PAIR, [
      ['a', 'b'],
      ['a', 'b'],
      ['ab', ''],
    ]);
    const { outputs } = PAIR.signature;
    expect(agrees(outputs, a ?? {}, b ?? {})).toBe(true);
    expect(agrees(outputs, a ?? {}, c ?? {})).toBe(false);
  });
});

describe('a manifest', () => {
  const faults = (spec: Partial<TensorSpec> & { dtype: Dtype }, format?: Manifest['format']) =>
    checkManifest(manifestOf(spec, format)).map(({ path, message }) => `${path} ${message}`);

  it('of a SavedModel may have every dtype, one of TensorFlow.js only those that it computes', () => {
    for (const dtype of DTYPES) expect(faults({ dtype }), dtype).toEqual([]);
    const refused = DTYPES.filter((dtype) => faults({ dtype }, 'graph').length > 0);
    expect(refused).toEqual(DTYPES.filter((dtype) => !['float32', 'int32', 'uint8', 'bool'].includes(dtype)));
    expect(faults({ dtype: 'string' }, 'layers')[0]).toMatch(
      /^\/signature\/inputs\/0\/dtype is string, which TensorFlow\.js does not compute; export .* SavedModel/,
    );
  });

  it('bounds strings alone, and pads them by nothing but empty ones', () => {
    expect(faults({ dtype: 'string', maxBytes: 5 })).toEqual([]);
    expect(faults({ dtype: 'int8', maxBytes: 5 })).toEqual([
      '/signature/inputs/0/maxBytes is for strings that come in',
    ]);
    const { signature, ...rest } = manifestOf({ dtype: 'string', shape: [null] });
    const padding = { sizes: [4], value: 1 };
    const inputs = signature.inputs.map((spec) => ({ ...spec, padding }));
    expect(checkManifest({ ...rest, signature: { ...signature, inputs } })).toEqual([
      {
        path: '/signature/inputs/0/padding/value',
        message: 'is for numbers; strings are padded by empty ones',
      },
    ]);
  });
});

import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { SluiceError } from '../../shared/contract/errors.js';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import type { FindFile } from '../../shared/contract/tensors/input-value.js';
import { publishedSchemas } from '../../shared/contract/tensors/signature.js';
import {
  packInstances,
  toNested,
  unpackInstances,
  type Value,
} from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';

function manifestOf(...inputs: TensorSpec[]): Manifest {
  const outputs = [{ name: 'y', dtype: 'float32' as const, shape: [1] }];
  const batching = { maxBatchSize: 4, maxDelayMs: 1 };
  return {
    name: 'm',
    version: 1,
    format: 'layers',
    signature: { inputs, outputs },
    batching,
    files: { 'model.json': '' },
  };
}

const FLOAT4 = manifestOf({ name: 'x', dtype: 'float32', shape: [4], accepts: [[2, 2]] });
const INT2 = manifestOf({ name: 'x', dtype: 'int32', shape: [2] });
const BYTE2 = manifestOf({ name: 'x', dtype: 'uint8', shape: [2] });
const BOOL3 = manifestOf({ name: 'x', dtype: 'bool', shape: [3] });
const VARIABLE = manifestOf({ name: 'x', dtype: 'float32', shape: [null, 2], maxShape: [3, 2] });
const TWO = manifestOf(
  { name: 'a', dtype: 'float32', shape: [1] },
  { name: 'b', dtype: 'int32', shape: [1] },
);

const IMAGE = manifestOf({ name: 'picture', dtype: 'image', shape: [null, null, 3], maxShape: [8, 8, 3] });

const FILES: Record<string, Uint8Array | null> = {
  sixteen: new Uint8Array(new Float32Array([1, 0.5, -3, 4e-3]).buffer),
  nan: new Uint8Array(new Float32Array([1, 2, Number.NaN, 4]).buffer),
  gone: null,
};
const findFile: FindFile = async (id) => {
  const bytes = FILES[id];
  if (bytes === undefined) return 'there is no such file';
  return { bytes: bytes?.length ?? 16, read: async () => bytes };
};

function b64(values: Float32Array | Int32Array | Uint8Array): { b64: string } {
  return { b64: Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64') };
}

async function faultsOf(manifest: Manifest, ...instances: unknown[]): Promise<string[]> {
  const error = await createInputEncoder(manifest, readImageHeader)
    .encode(instances)
    .then(
      () => null,
      (reason: SluiceError) => reason,
    );
  expect(error?.code, 'must be refused').toBe('invalid_input');
  return error?.faults.map(({ path, message }) => `${path} ${message}`) ?? [];
}

describe('input encoder refuses', () => {
  const cases: [name: string, manifest: Manifest, instance: unknown, fault: RegExp][] = [
    ['null for a number', FLOAT4, [1, null, 3, 4], /^\/instances\/0\/1 must be number; got null/],
    ['a string for a number', FLOAT4, [1, 2, '5', 4], /^\/instances\/0\/2 must be number; got a string/],
    ['a boolean for a number', FLOAT4, [true, 2, 3, 4], /^\/instances\/0\/0 must be number; got a boolean/],
    ['1e400, which JSON.parse makes Infinity', FLOAT4, JSON.parse('[1e400, 2, 3, 4]'), /^\/instances\/0\/0 /],
    ['1e39, which float32 makes Infinity', FLOAT4, [1, 2, 3, 1e39], /^\/instances\/0\/3 must be <= 3\.40/],
    ['too few values', FLOAT4, [1, 2, 3], /^\/instances\/0 must have at least 4 items; has 3/],
    ['too many values', FLOAT4, [1, 2, 3, 4, 5], /^\/instances\/0 must have at most 4 items; has 5/],
    ['a ragged array', FLOAT4, [[1, 2], [3]], /^\/instances\/0\/1 must have at least 2 items; has 1/],
    [
      'a level of nesting too much',
      FLOAT4,
      [
        [
          [1, 2],
          [3, 4],
        ],
      ],
      /^\/instances\/0 .*3 levels/,
    ],
    ['a number for an array', FLOAT4, 7, /^\/instances\/0 .*got a number/],
    ['null for an instance', FLOAT4, null, /^\/instances\/0 .*got null/],
    ['an object that is no raw value', FLOAT4, { y: [1, 2, 3, 4] }, /^\/instances\/0 .*got an object/],
    ['a bad value by its name', FLOAT4, { x: [1, null, 3, 4] }, /^\/instances\/0\/x\/1 must be number/],
    ['a name beside the one of the input', FLOAT4, { x: [1, 2, 3, 4], y: 1 }, /^\/instances\/0\/y is not an/],
    ['int32 overflow', INT2, [0, 2147483648], /^\/instances\/0\/1 must be <= 2147483647/],
    ['a fraction for an int32', INT2, [0, 1.5], /^\/instances\/0\/1 must be integer/],
    ['256 for a uint8', BYTE2, [256, 0], /^\/instances\/0\/0 must be <= 255/],
    ['2 for a bool', BOOL3, [0, 1, 2], /^\/instances\/0\/2 must be one of true, false, 0, 1/],
    ['"true" for a bool', BOOL3, ['true', 1, 1], /^\/instances\/0\/0 must be one of true, false, 0, 1/],
    ['a byte of 2 for a bool', BOOL3, b64(new Uint8Array([0, 1, 2])), /^\/instances\/0\/b64 element 2 is 2/],
    ['-1 for a uint8', BYTE2, [0, -1], /^\/instances\/0\/1 must be >= 0/],
    [
      'NaN inside raw bytes',
      FLOAT4,
      b64(new Float32Array([1, 2, Number.NaN, 4])),
      /^\/instances\/0\/b64 element 2 is NaN/,
    ],
    [
      'Infinity inside raw bytes',
      FLOAT4,
      b64(new Float32Array([1, -Infinity, 3, 4])),
      /^\/instances\/0\/b64 element 1/,
    ],
    [
      'raw bytes of the wrong length',
      FLOAT4,
      b64(new Float32Array(3)),
      /^\/instances\/0\/b64 must hold 16 bytes .*holds 12/,
    ],
    ['text that is not base64', FLOAT4, { b64: '@@@@' }, /^\/instances\/0\/b64 must be base64 .*"@" at 0/],
    ['base64 that is cut off', FLOAT4, { b64: 'AAAAA' }, /^\/instances\/0\/b64 .*cut off or padded/],
    ['base64 padded too much', FLOAT4, { b64: 'AAAA==' }, /^\/instances\/0\/b64 .*cut off or padded/],
    ['two alphabets in one text', FLOAT4, { b64: 'AA+_' }, /^\/instances\/0\/b64 .*mixes/],
    ['a lost plus', FLOAT4, { b64: 'AA AAAAA' }, /^\/instances\/0\/b64 .*a space at 2/],
    ['percent-encoded base64', FLOAT4, { b64: 'AA%2BAAA=' }, /^\/instances\/0\/b64 .*percent-encoded/],
    ['a Python literal', FLOAT4, { b64: "b'AAAA'" }, /^\/instances\/0\/b64 .*Python bytes/],
    ['a data URI of text', FLOAT4, { b64: 'data:,AAAA' }, /^\/instances\/0\/b64 .*without `;base64`/],
    ['an address', FLOAT4, { b64: 'https://a.example/x.png' }, /^\/instances\/0\/b64 .*an address/],
    [
      'a letter of more than a byte',
      FLOAT4,
      { b64: `${'A'.repeat(20)}ŁA==` },
      /^\/instances\/0\/b64 .*"Ł" at 20/,
    ],
    ['a number as base64', FLOAT4, { b64: 5 }, /^\/instances\/0\/b64 must be a base64 string/],
    [
      'a stray field beside raw bytes',
      FLOAT4,
      { ...b64(new Float32Array(4)), shape: [4] },
      /^\/instances\/0\/shape is not/,
    ],
    [
      'a variable dimension above its maximum',
      VARIABLE,
      [
        [1, 2],
        [1, 2],
        [1, 2],
        [1, 2],
      ],
      /^\/instances\/0 must have at most 3 items; has 4/,
    ],
    [
      'a stated shape above the maximum, before any allocation',
      VARIABLE,
      { b64: '', shape: [1e9, 2] },
      /^\/instances\/0\/shape\/0 must be an integer from 1 to 3/,
    ],
    ['a stated shape of 0', VARIABLE, { b64: '', shape: [0, 2] }, /^\/instances\/0\/shape\/0/],
    ['a missing input', TWO, { a: [1] }, /^\/instances\/0\/b is required/],
    [
      'an input that the model does not have',
      TWO,
      { a: [1], b: [1], c: [1] },
      /^\/instances\/0\/c is not an input/,
    ],
    [
      '__proto__ as an input',
      TWO,
      JSON.parse('{"__proto__": [1], "a": [1], "b": [1]}'),
      /^\/instances\/0\/__proto__ is not an input/,
    ],
  ];
  it.each(cases)('%s', async (_, manifest, instance, fault) => {
    const faults = await faultsOf(manifest, instance);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(fault);
  });

  const files: [name: string, manifest: Manifest, instance: unknown, fault: RegExp][] = [
    ['a file that is not there', FLOAT4, { file: 'nothing' }, /^\/instances\/0\/file there is no such file/],
    ['an id that is no text', FLOAT4, { file: 5 }, /^\/instances\/0\/file must be the id .*got a number/],
    [
      'a file of the wrong length',
      INT2,
      { file: 'sixteen' },
      /^\/instances\/0\/file must hold 8 bytes .*holds 16/,
    ],
    ['NaN inside a file', FLOAT4, { file: 'nan' }, /^\/instances\/0\/file element 2 is NaN/],
    ['a file that has just gone', FLOAT4, { file: 'gone' }, /^\/instances\/0\/file there is no such file/],
    ['a shape beside a fixed one', FLOAT4, { file: 'sixteen', shape: [4] }, /^\/instances\/0\/shape is not/],
    ['a file and text', FLOAT4, { file: 'sixteen', b64: '' }, /^\/instances\/0\/file is not/],
    ['a file without its shape', VARIABLE, { file: 'sixteen' }, /^\/instances\/0\/shape must be/],
    [
      'a stated shape that is too large',
      VARIABLE,
      { file: 'huge', shape: [4, 2] },
      /^\/instances\/0\/shape\/0/,
    ],
    [
      'a file for one of two inputs',
      TWO,
      { a: { file: 'x' }, b: [1] },
      /^\/instances\/0\/a\/file there is no/,
    ],
    [
      'a file that is no picture',
      IMAGE,
      { image: { file: 'sixteen' } },
      /^\/instances\/0\/image\/file is not a JPEG/,
    ],
    ['the same by itself', IMAGE, { file: 'sixteen' }, /^\/instances\/0\/file is not a JPEG/],
    ['a picture twice', IMAGE, { image: { file: 'x', b64: '' } }, /^\/instances\/0\/image\/b64 cannot stand/],
  ];
  it.each(files)('%s', async (_, manifest, instance, fault) => {
    const error = await createInputEncoder(manifest, readImageHeader)
      .encode([instance], '/instances', findFile)
      .catch((reason: SluiceError) => reason as SluiceError);
    expect((error as SluiceError).faults).toHaveLength(1);
    const [{ path = '', message = '' } = {}] = (error as SluiceError).faults;
    expect(`${path} ${message}`).toMatch(fault);
  });

  it('every file where none may be named', async () => {
    expect(await faultsOf(FLOAT4, { file: 'sixteen' })).toEqual([
      '/instances/0/file no file can be named here',
    ]);
  });

  it('every bad instance by its own place', async () => {
    const faults = await faultsOf(FLOAT4, [1, 2, 3, 4], [1], [1, 2, 3, 4], 'x');
    expect(faults.map((fault) => fault.split(' ')[0])).toEqual(['/instances/1', '/instances/3']);
  });
});

describe('input encoder takes', () => {
  it('nested values, flat or as 2 × 2, and raw bytes, as the same bytes', async () => {
    const raw = new Float32Array([1, 0.5, -3, 4e-3]);
    const encoded = await createInputEncoder(FLOAT4, readImageHeader).encode([
      [...raw],
      [
        [raw[0], raw[1]],
        [raw[2], raw[3]],
      ],
      b64(raw),
    ]);
    for (const instance of encoded) {
      expect(instance.x?.shape).toEqual([4]);
      expect(toTypedArray('float32', instance.x?.data as Uint8Array)).toEqual(raw);
    }
  });

  it('base64 in every form that can mean one thing only', async () => {
    const raw = Buffer.alloc(16, new Uint8Array([0xfb, 0xff, 0xbf, 0x3e]));
    const [plain, url] = [raw.toString('base64'), raw.toString('base64url')];
    expect(plain).toMatch(/[+/].*=$/);
    const forms = [
      ...[plain, url, plain.replace(/=+$/, ''), `data:application/octet-stream;base64,${plain}`],
      ...[`${plain.slice(0, 9)}\r\n${plain.slice(9)}\n`, `data:;charset=x;base64,${url}`, ` ${plain}`],
    ];
    const encoded = await createInputEncoder(FLOAT4, readImageHeader).encode(forms.map((b64) => ({ b64 })));
    for (const { x } of encoded) expect(Buffer.from(x?.data as Uint8Array).equals(raw)).toBe(true);
  });

  it('true and false for a bool, also as 1 and 0, and gives booleans back', async () => {
    const encoder = createInputEncoder(BOOL3, readImageHeader);
    const forms = [[true, false, true], [1, 0, 1], [true, 0, 1], b64(new Uint8Array([1, 0, 1]))];
    for (const { x } of await encoder.encode(forms)) {
      expect([...(x?.data ?? [])]).toEqual([1, 0, 1]);
      expect(toNested(x as Value)).toEqual([true, false, true]);
    }
    const schemas = publishedSchemas({
      ...BOOL3,
      signature: { ...BOOL3.signature, outputs: BOOL3.signature.inputs },
    });
    const takes = (schema: unknown, value: unknown) =>
      new Ajv2020({ strict: false }).compile(schema as object)(value);
    expect(forms.map((form) => takes(schemas.instance, form))).toEqual([true, true, true, true]);
    expect(forms.map((form) => takes(schemas.prediction, form))).toEqual([true, false, false, false]);
  });

  it('the value of a single input by its name, too', async () => {
    const only = (name: string, dtype: 'float32' | 'image' = 'float32') =>
      createInputEncoder(
        manifestOf({ name, dtype, shape: dtype === 'image' ? [null, null, 3] : [2] }),
        readImageHeader,
      );
    const values = [1, 2];
    const raw = b64(new Float32Array(values));
    for (const name of ['x', 'image', 'b64', 'file', 'shape']) {
      const encoded = await only(name).encode([values, raw, { [name]: values }, { [name]: raw }]);
      for (const instance of encoded)
        expect(toTypedArray('float32', instance[name]?.data as Uint8Array)).toEqual(new Float32Array(values));
    }
    const png = await sharp({ create: { width: 2, height: 3, channels: 3, background: '#123' } })
      .png()
      .toBuffer();
    const picture = { image: { b64: png.toString('base64') } };
    for (const name of ['x', 'image', 'file']) {
      const encoded = await only(name, 'image').encode([picture, { [name]: picture }]);
      for (const instance of encoded) expect(instance[name]?.shape).toEqual([3, 2, 3]);
    }
  });

  it('files of raw bytes, and pictures in files', async () => {
    const [nested, file] = await createInputEncoder(FLOAT4, readImageHeader).encode(
      [[1, 0.5, -3, 4e-3], { file: 'sixteen' }],
      '/instances',
      findFile,
    );
    expect(file?.x?.shape).toEqual(nested?.x?.shape);
    expect(Buffer.from(file?.x?.data as Uint8Array).equals(nested?.x?.data as Uint8Array)).toBe(true);
    const [wide] = await createInputEncoder(VARIABLE, readImageHeader).encode(
      [{ file: 'sixteen', shape: [2, 2] }],
      '/instances',
      findFile,
    );
    expect(wide?.x?.shape).toEqual([2, 2]);
    const png = await sharp({ create: { width: 2, height: 3, channels: 3, background: '#123' } })
      .png()
      .toBuffer();
    FILES.png = png;
    const images = [{ image: { file: 'png' } }, { file: 'png' }, { image: { b64: png.toString('base64') } }];
    for (const { picture } of await createInputEncoder(IMAGE, readImageHeader).encode(
      images,
      '/instances',
      findFile,
    )) {
      expect(picture?.shape).toEqual([3, 2, 3]);
      expect(Buffer.from(picture?.data as Uint8Array).equals(png)).toBe(true);
    }
  });

  it('variable dimensions, each instance with its own', async () => {
    const encoded = await createInputEncoder(VARIABLE, readImageHeader).encode([
      [[1, 2]],
      [
        [1, 2],
        [3, 4],
      ],
    ]);
    expect(encoded.map((instance) => instance.x?.shape)).toEqual([
      [1, 2],
      [2, 2],
    ]);
  });

  it('exactly what the published schema takes', async () => {
    const validate = new Ajv2020({ strict: false }).compile(publishedSchemas(FLOAT4).instance as object);
    const number = fc.oneof(
      fc.double({ min: -1e40, max: 1e40, noNaN: true }),
      fc.constantFrom(null, '1', true, 0),
    );
    const value = fc.oneof(
      fc.array(number, { minLength: 3, maxLength: 5 }),
      fc.array(fc.array(number, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }),
      fc.array(number, { minLength: 3, maxLength: 5 }).map((x) => ({ x })),
      fc.anything(),
    );
    await fc.assert(
      fc.asyncProperty(value, async (instance) => {
        const encoder = createInputEncoder(FLOAT4, readImageHeader);
        const taken = await encoder.encode([instance]).then(
          () => true,
          () => false,
        );
        expect(taken).toBe(validate(instance));
      }),
      { numRuns: 300 },
    );
  });
});

describe('packed instances', () => {
  it('come back as they were, also with rows of different shapes and a row without values', () => {
    const row = (values: number[], shape: number[]) => {
      const data = new Uint8Array(new Float32Array(values).buffer);
      return { x: { dtype: 'float32' as const, shape, data } };
    };
    const instances = [row([1, 2], [2]), row([1, 2, 3, 4], [2, 2]), {}];
    const unpacked = unpackInstances(packInstances(instances));
    expect(unpacked.map((instance) => (instance.x ? toNested(instance.x) : null))).toEqual([
      [1, 2],
      [
        [1, 2],
        [3, 4],
      ],
      null,
    ]);
  });
});

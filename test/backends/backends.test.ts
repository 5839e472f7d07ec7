/**
 * Conformance: every backend that this machine can load keeps the same promises, on models small enough to check by hand.
 */
import { appendFileSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { checkManifest } from '../../shared/contract/models/manifest-check.js';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import { publishedSchemas } from '../../shared/contract/tensors/signature.js';
import {
  type Instance,
  isTensor,
  packInstances,
  toNested,
  unpackInstances,
  type Value,
} from '../../shared/contract/tensors/tensor.js';
import type { Backend, BackendName, LoadedModel } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { stack } from '../../worker/backends/tensors.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import type { InstanceResult } from '../../worker/inference/protocol/messages.js';
import { LOCAL_BACKENDS, runOn } from '../support/local-backends.js';
import { TFJS_MODELS } from '../support/onnx-models.js';
import {
  denseByHand,
  floats,
  goldenOf,
  type TinyModel,
  type Weight,
  writeDense,
  writeProduct,
} from '../support/tiny-models.js';

const { SLUICE_CACHE_DIR } = loadConfig();
const toldOf = (isTested: boolean) =>
  LOCAL_BACKENDS.filter(({ fault }) => (fault === null) === isTested)
    .map(({ name, fault }) => name + (fault ? ` (${fault})` : ''))
    .join(', ');
console.warn(`Conformance: ${toldOf(true)} tested; !!! SKIPPED: ${toldOf(false) || 'none'}`);
const root = mkdtempSync(join(tmpdir(), 'sluice-backends-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

// First: a process that holds TensorFlow answers these from what it has.
describe('the choice of a backend', () => {
  const refuse = (reason: string) => () => Promise.reject(new Error(reason));
  const fake = (name: BackendName) => async () =>
    ({ name, device: 'cpu', load: refuse('fake'), liveTensors: () => 0 }) as Backend;

  it('takes for auto the first that loads and tells why not those before it', async () => {
    const openers = {
      onnx: refuse('no ONNX Runtime'),
      cuda: refuse('no GPU'),
      wasm: refuse('no wasm'),
      native: fake('native'),
      cpu: fake('cpu'),
    };
    const { backend, refused } = await chooseBackend('auto', root, openers);
    expect(backend.name).toBe('native');
    expect(refused).toEqual([
      { name: 'cuda', reason: 'no GPU' },
      { name: 'wasm', reason: 'no wasm' },
    ]);
  });

  it('never replaces a backend that was asked for by name', async () => {
    await expect(chooseBackend('native', join(root, 'empty-cache'))).rejects.toThrow(
      /^native cannot serve: .*npm run backend:install -- cpu/,
    );
  });

  it('refuses cuda at once where it cannot work', async () => {
    const started = performance.now();
    await expect(chooseBackend('cuda', join(root, 'empty-cache'))).rejects.toThrow(/^cuda cannot serve: /);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

for (const { name, device, fault, models } of LOCAL_BACKENDS) {
  describe.skipIf(fault !== null)(`backend ${name}`, () => {
    const rows = [
      [1, 2, 3],
      [-4, 0.5, 6],
      [0, 0, 0],
    ];
    let folder: string;
    let backend: Backend;

    beforeAll(async () => {
      folder = mkdtempSync(join(root, name));
      backend = (await chooseBackend(name, SLUICE_CACHE_DIR)).backend;
    }, 30_000);

    function rowsOf(result: { y?: { data: ArrayLike<number> } }, width: number): number[][] {
      const flat = Array.from(result.y?.data ?? []);
      return Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width));
    }

    async function withModel(tiny: TinyModel, act: (model: LoadedModel) => Promise<void>): Promise<void> {
      const before = backend.liveTensors();
      const model = await backend.load(tiny.folder, tiny.manifest);
      try {
        await act(model);
      } finally {
        model.dispose();
      }
      expect(backend.liveTensors()).toBe(before);
    }

    function versionsOf(): LoadedVersions {
      return createLoadedVersions(backend, systemClock);
    }

    it('says what it is', () => {
      expect(backend).toMatchObject({ name, device });
    });

    it('computes a layers model as by hand, in a batch as alone', async () => {
      await withModel(models.dense(folder), async (model) => {
        const instances = rows.map((row) => floats('x', row));
        const batch = rowsOf(await model.run({ x: stack(instances, 'x') }), 2);
        for (const [index, row] of rows.entries()) {
          const alone = rowsOf(await model.run({ x: stack([floats('x', row)], 'x') }), 2)[0] ?? [];
          denseByHand(row).forEach((value, i) => {
            expect(batch[index]?.[i]).toBeCloseTo(value, 4);
            expect(Math.abs((batch[index]?.[i] ?? Number.NaN) - (alone[i] ?? Number.NaN))).toBeLessThan(1e-5);
          });
        }
      });
    });

    it('computes a graph model as by hand', async () => {
      await withModel(models.product(folder), async (model) => {
        const { product } = await model.run({ x: stack([floats('x', [1, 2, 3])], 'x') });
        expect(product).toMatchObject({ dtype: 'float32', shape: [1, 2] });
        expect(product?.data).toEqual(new Float32Array([22, 28]));
      });
    });

    // ONNX stores no weights in other types than it computes with.
    it.runIf(models === TFJS_MODELS).each(['float16', 'uint8', 'uint16'] as const)(
      'computes with weights stored as %s',
      async (stored) => {
        const weights: Weight[] = [
          { name: 'dense/kernel', shape: [3, 2], dtype: 'float32', values: [1, 2, 3, 4, 5, 6], stored },
          { name: 'dense/bias', shape: [2], dtype: 'float32', values: [0.5, -0.5], stored },
        ];
        await withModel(models.dense(folder, { weights }), async (model) => {
          const { y } = await model.run({ x: stack([floats('x', [1, 2, 3])], 'x') });
          for (const [i, expected] of denseByHand([1, 2, 3]).entries())
            expect(y?.data[i]).toBeCloseTo(expected, 4);
        });
      },
    );

    it('matches inputs by name, takes uint8 for int32 and answers in the declared dtype', async () => {
      await withModel(models.difference(folder), async (model) => {
        const a: Value = { dtype: 'uint8', shape: [2], data: Uint8Array.from([200, 3]) };
        const b: Value = { dtype: 'int32', shape: [2], data: toBytes(Int32Array.from([100, 70_000])) };
        const { y } = await model.run({ b: stack([{ b }], 'b'), a: stack([{ a }], 'a') });
        expect(y).toMatchObject({ dtype: 'int32', shape: [1, 2], data: Int32Array.from([100, -69_997]) });
      });
    });

    it('keeps no tensor over 200 runs, half of which throw', async () => {
      await withModel(models.dense(folder), async (model) => {
        const good = { x: stack([floats('x', [1, 2, 3])], 'x') };
        const bad = { x: stack([floats('x', [1, 2, 3, 4])], 'x') };
        await model.run(good);
        const before = backend.liveTensors();
        for (let i = 0; i < 100; i++) {
          await model.run(good);
          await expect(model.run(bad)).rejects.toThrow();
        }
        await expect(model.run({})).rejects.toThrow(/input x is missing/);
        expect(backend.liveTensors()).toBe(before);
      });
    });

    it.each([
      ['an input too few', { outputs: [] as never[], inputs: [] as never[] }, /has 0 inputs, the model 1/],
      [
        'another shape',
        { inputs: [{ name: 'x', dtype: 'float32' as const, shape: [4] }] },
        /input x is \[\?, 4\], the model takes \[\?, 3\]/,
      ],
      [
        'an output too many',
        { outputs: ['y', 'z'].map((output) => ({ name: output, dtype: 'float32' as const, shape: [2] })) },
        /outputs \(y, z\) are not the model's \(dense\)/,
      ],
    ])('refuses a signature with %s', async (_, changes, message) => {
      const tiny = models.dense(folder, { name: 'misdeclared', ...changes });
      const before = backend.liveTensors();
      await expect(backend.load(tiny.folder, tiny.manifest)).rejects.toThrow(message);
      expect(backend.liveTensors()).toBe(before);
    });

    it('refuses at load an output that would have to be rounded', async () => {
      const tiny = models.dense(folder, {
        name: 'rounded',
        outputs: [{ name: 'y', dtype: 'int32', shape: [2] }],
      });
      const before = backend.liveTensors();
      await expect(versionsOf().load(tiny.folder, tiny.manifest)).rejects.toThrow(/float32.*says int32/);
      expect(backend.liveTensors()).toBe(before);
    });

    it('passes the golden vectors that are right and refuses those that are not', async () => {
      const right = models.dense(folder, { name: 'right', golden: goldenOf(rows, rows.map(denseByHand)) });
      const report = await versionsOf().load(right.folder, right.manifest);
      expect(report.goldenDifference).toBeLessThan(1e-5);
      const before = backend.liveTensors();
      const wrong = models.dense(folder, { name: 'wrong', golden: goldenOf([[1, 2, 3]], [[22.5, 28]]) });
      await expect(versionsOf().load(wrong.folder, wrong.manifest)).rejects.toThrow(
        /golden instance 0: output y\[1\]/,
      );
      expect(backend.liveTensors()).toBe(before);
    });

    it('fails the one instance whose output is not finite', async () => {
      const versions = versionsOf();
      const tiny = models.dense(folder);
      await versions.load(tiny.folder, tiny.manifest);
      const results = await runOn(versions, 'dense', 1, [
        floats('x', [1, 2, 3]),
        floats('x', [3e38, 3e38, 3e38]),
        floats('x', [0, 0, 0]),
      ]);
      expect(results.map(codeOf)).toEqual([null, 'non_finite_output', null]);
      expect(outputOf(results[2])).toEqual([0.5, -0.5]);
    });

    it.each([
      ['string', ['Infinity', 'Infinity']],
      [null, [null, null]],
      ['null', [null, null]],
    ] as const)('gives an output that is not finite where nonFinite is %s', async (nonFinite, shown) => {
      const versions = versionsOf();
      const tiny = models.dense(folder);
      const manifest = { ...tiny.manifest, nonFinite };
      expect(checkManifest(manifest)).toEqual([]);
      await versions.load(tiny.folder, manifest);
      const rows = [
        [1, 2, 3],
        [3e38, 3e38, 3e38],
      ].map((row) => floats('x', row));
      const results = await runOn(versions, 'dense', 1, rows);
      const outputs = results.map((result) => (result.ok ? result.outputs : {}));
      const [finite, infinite] = unpackInstances(packInstances(outputs));
      expect(toNested(finite?.y as Value)).toEqual([22.5, 27.5]);
      expect(toNested(infinite?.y as Value)).toEqual(shown);
      // The bytes hold it as it was computed.
      expect(toTypedArray('float32', infinite?.y?.data as Uint8Array)[0]).toBe(Number.POSITIVE_INFINITY);
      const validate = new Ajv2020({ strict: false }).compile(
        publishedSchemas(manifest).prediction as object,
      );
      expect([validate(shown), validate([1, 2]), validate(['x', 1])]).toEqual([true, true, false]);
    });

    it('takes images, answers PNGs, and fails the one that is no image', async () => {
      const versions = versionsOf();
      const tiny = models.double(folder);
      await versions.load(tiny.folder, tiny.manifest);
      const pixels = Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 1, 2, 3, 4, 5, 6]);
      const raw = { width: 3, height: 2, channels: 3 } as const;
      const png = await sharp(pixels, { raw }).png().toBuffer();
      const grey = await sharp(pixels, { raw }).greyscale().toColourspace('b-w').png().toBuffer();
      const image = (data: Uint8Array): Instance => ({ small: { dtype: 'image', shape: [2, 3, 3], data } });
      const results = await runOn(versions, 'double', 1, [
        image(png),
        image(png.subarray(0, 50)),
        image(grey),
      ]);
      expect(results.map(codeOf)).toEqual([null, 'invalid_image', null]);
      const large = results[0]?.ok ? results[0].outputs.large : undefined;
      expect(large).toMatchObject({ dtype: 'image', shape: [4, 6, 3] });
      const { data, info } = await sharp(large?.data).raw().toBuffer({ resolveWithObject: true });
      expect([info.height, info.width, info.channels]).toEqual([4, 6, 3]);
      for (let y = 0; y < 4; y++) {
        for (let x = 0; x < 6; x++) {
          const at = ((y >> 1) * 3 + (x >> 1)) * 3;
          expect([...data.subarray((y * 6 + x) * 3, (y * 6 + x) * 3 + 3)]).toEqual([
            ...pixels.subarray(at, at + 3),
          ]);
        }
      }
      // Announced as 2 × 3 by the caller's side, but another size inside.
      const other = await sharp(pixels, { raw }).resize(5, 5).png().toBuffer();
      const lied = await runOn(versions, 'double', 1, [image(other)]);
      expect(lied.map(codeOf)).toEqual(['invalid_image']);
    });
  });
}

describe('what a version must be to load', () => {
  let versions: LoadedVersions;
  beforeAll(async () => {
    versions = createLoadedVersions((await chooseBackend('cpu', SLUICE_CACHE_DIR)).backend, systemClock);
  });
  const load = (tiny: TinyModel) => versions.load(tiny.folder, tiny.manifest);

  it('refuses weights that were changed', async () => {
    const tiny = writeDense(root, { name: 'changed' });
    appendFileSync(join(tiny.folder, 'weights.bin'), 'x');
    await expect(load(tiny)).rejects.toThrow(/weights\.bin has the sha256/);
  });

  it.each(['../outside.bin', '/etc/hostname', 'https://example.com/w.bin', 'a/../../outside.bin'])(
    'refuses weights at %s',
    async (shard) => {
      writeFileSync(join(root, 'outside.bin'), Buffer.alloc(32));
      await expect(load(writeDense(root, { name: 'escaping', shard }))).rejects.toThrow(
        /which model\.yaml does not list/,
      );
    },
  );

  it('refuses a manifest that lists a path outside', async () => {
    const tiny = writeDense(root, { name: 'listed' });
    tiny.manifest.files['../outside.bin'] = 'a'.repeat(64);
    await expect(load(tiny)).rejects.toThrow(/not a path inside/);
  });

  it('refuses a file that is a link, and one that is missing', async () => {
    const tiny = writeDense(root, { name: 'linked' });
    renameSync(join(tiny.folder, 'weights.bin'), join(root, 'elsewhere.bin'));
    await expect(load(tiny)).rejects.toThrow(/weights\.bin cannot be read/);
    symlinkSync(join(root, 'elsewhere.bin'), join(tiny.folder, 'weights.bin'));
    await expect(load(tiny)).rejects.toThrow(/is a link/);
  });

  it('refuses a layer that runs code of its maker, and an operation that is none of computing', async () => {
    const topology = { class_name: 'Sequential', config: { layers: [{ class_name: 'Lambda', config: {} }] } };
    const lambda = writeDense(root, { name: 'lambda', topology });
    await expect(load(lambda)).rejects.toThrow(/not allowed: Lambda/);
    const reader = writeProduct(root, {
      name: 'reader',
      topology: { node: [{ name: 'x', op: 'ReadFile' }] },
    });
    await expect(load(reader)).rejects.toThrow(/not allowed: ReadFile/);
  });

  it('refuses to run what is not loaded', async () => {
    await expect(runOn(versions, 'nobody', 1, [floats('x', [1])])).rejects.toThrow('nobody@1 is not loaded');
  });
});

function codeOf(result: InstanceResult): string | null {
  return result.ok ? null : result.code;
}

function outputOf(result: InstanceResult | undefined): number[] {
  const value = result?.ok ? result.outputs.y : undefined;
  return value && isTensor(value) ? ([toNested(value)].flat(9) as number[]) : [];
}

/**
 * A SavedModel with an input and an output of each type that travels: TensorFlow's types behind those of the API, and back.
 */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { createLogger } from '../../shared/base/log.js';
import { loadConfig } from '../../shared/contract/config.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { type Instance, toNested } from '../../shared/contract/tensors/tensor.js';
import { openImage, openSharp, readImageHeader } from '../../shared/images/image.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import type { Backend } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { createInferenceMetrics } from '../../worker/inference/metrics.js';
import { type BackendPool, openBackendPool } from '../../worker/inference/pool/backend-pool.js';
import { editSavedModel } from '../support/saved-model-edit.js';
import { ROOT } from '../support/stack.js';

const MODEL = join(ROOT, 'test/fixtures/exports/types/1');
const TENSORS: Record<string, [dtype: string, ...shape: number[]]> = {
  brief: ['float32', 2],
  flags: ['bool', 2],
  ids: ['int64', 3],
  narrow: ['float32', 2],
  pixels: ['uint8', 2, 2, 1],
  wide: ['float64', 2],
};
const GIVEN = {
  ids: [1, 2, 3],
  pixels: [
    [[0], [1]],
    [[254], [255]],
  ],
  flags: [false, 1],
  wide: [3, -6],
  narrow: [0.25, 2],
  brief: [1, -3],
};
const COMPUTED = {
  rows: [
    [0.25, 0.375],
    [0.5, 0.625],
    [0.75, 0.875],
  ],
  squared: [1, 4, 9],
  counts: [0, 1, 1, 1, 0, 0, 0, 0, 0, 0],
  inverted: [
    [[255], [254]],
    [[1], [0]],
  ],
  opposite: [true, false],
  third: [1, -2],
  doubled: [0.5, 4],
  halved: [0.5, -1.5],
};
const GREY = { raw: { width: 2, height: 2, channels: 1 } } as const;
/** Squared it leaves int32. */
const TOO_LARGE = { ...GIVEN, ids: [46341, 0, 0] };
const LARGE = {
  ...COMPUTED,
  rows: expect.any(Array),
  counts: expect.any(Array),
  squared: [2147488281, 0, 0],
};

const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
if (nativeFault) console.warn(`\n!!! SKIPPED: no SavedModel is run: ${nativeFault}.\n`);

const root = mkdtempSync(join(tmpdir(), 'sluice-saved-model-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const manifestOf = (folder: string) => readManifest(folder, { name: 'types', version: 1 });

describe('the types of a SavedModel', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(root, 'model-'));
    cpSync(MODEL, folder, { recursive: true });
  });

  it('are told as what travels', async () => {
    const { signature } = await readManifest(folder, { name: 'types', version: 1 });
    const told = signature.inputs.map(({ name, dtype, shape }) => [name, [dtype, ...shape]]);
    expect(Object.fromEntries(told)).toEqual(TENSORS);
    expect(signature.outputs.map(({ name, dtype }) => `${name} ${dtype}`)).toEqual([
      ...['counts int32', 'doubled float32', 'halved float32', 'inverted uint8', 'opposite bool'],
      ...['rows float32', 'squared int64', 'third float64'],
    ]);
  });

  it.each([
    ['int64', 'int32'],
    ['float64', 'float32'],
    ['bool', 'uint8'],
  ])('may be narrowed from %s to %s', async (wide, narrow) => {
    const inputs = Object.entries(TENSORS).map(([name, [dtype, ...shape]]) => ({
      name,
      dtype: dtype === wide ? narrow : dtype,
      shape,
    }));
    writeFileSync(join(folder, 'model.yaml'), JSON.stringify({ signature: { inputs } }));
    const { signature } = await manifestOf(folder);
    const dtypes = signature.inputs.map(({ dtype }) => dtype);
    expect(dtypes).toContain(narrow);
    expect(dtypes).not.toContain(wide);
  });

  it('are refused by name where they have no form on the wire', async () => {
    // The numbers do not matter, because it is not loaded.
    editSavedModel(folder, (graph) =>
      graph.getSignatureDefMap().get('serving_default').getInputsMap().get('ids').setDtype(8),
    );
    await expect(manifestOf(folder)).rejects.toThrow('ids is complex64, for which there is no form here');
  });

  it.each(['a,b:0', 'a', '^a:0', ''])('are at a place of the graph, which %j is not', async (place) => {
    editSavedModel(folder, (graph) =>
      graph.getSignatureDefMap().get('serving_default').getInputsMap().get('ids').setName(place),
    );
    await expect(manifestOf(folder)).rejects.toThrow('ids is at no place of the graph');
  });

  it.each([
    ['a picture as it is', '', true],
    ['no picture that is scaled', ', scale: 0.5', false],
    ['no picture that is normalised', ', preprocess: {mean: [1]}', false],
  ])('hold %s in bytes', async (_, more, isTaken) => {
    const picture = `{name: pixels, dtype: image, shape: [2, 2, 1]${more}}`;
    const others = Object.entries(TENSORS)
      .filter(([name]) => name !== 'pixels')
      .map(([name, [dtype, ...shape]]) => `{name: ${name}, dtype: ${dtype}, shape: [${shape}]}`);
    writeFileSync(join(folder, 'model.yaml'), `signature:\n  inputs: [${[picture, ...others]}]\n`);
    const read = manifestOf(folder);
    if (isTaken) expect((await read).signature.inputs[0]?.dtype).toBe('image');
    else await expect(read).rejects.toThrow('/signature/inputs/0/dtype is image with scale, mean or std');
  });
});

describe.skipIf(nativeFault !== null)('the types of a SavedModel on native', () => {
  let manifest: Manifest;
  let instances: Instance[];
  let backend: Backend;
  beforeAll(async () => {
    manifest = { ...(await manifestOf(MODEL)), golden: 'golden.json' };
    instances = await createInputEncoder(manifest, readImageHeader).encode([GIVEN, TOO_LARGE]);
    ({ backend } = await chooseBackend('native', SLUICE_CACHE_DIR));
  });

  it('give what TensorFlow gave, whatever shares their batch, and keep nothing', async () => {
    const before = backend.liveTensors();
    const versions = createLoadedVersions(backend, systemClock);
    expect((await versions.load(MODEL, manifest)).goldenDifference).toBe(0);
    const compute = async (rows: Instance[]) => {
      const { results } = await versions.compute('types', 1, await versions.prepare('types', 1, rows));
      return (await results).map((each) => each.ok && nestedOf(each.outputs));
    };
    const [good, bad] = instances as [Instance, Instance];
    const loaded = backend.liveTensors();
    for (let i = 0; i < 20; i++) {
      expect(await compute([good])).toEqual([COMPUTED]);
      expect(await compute([good, good, good])).toEqual([COMPUTED, COMPUTED, COMPUTED]);
      expect(await compute([good, bad])).toEqual([COMPUTED, LARGE]);
    }
    expect(backend.liveTensors()).toBe(loaded);
    versions.unload('types', 1);
    expect(backend.liveTensors()).toBe(before);
  });

  it('take and give pictures in bytes', async () => {
    const folder = mkdtempSync(join(root, 'picture-'));
    cpSync(MODEL, folder, { recursive: true });
    const { inputs, outputs } = manifest.signature;
    const asPicture = (specs: typeof inputs, picture: string) =>
      specs.map((spec) => (spec.name === picture ? { ...spec, dtype: 'image' } : spec));
    const said = { inputs: asPicture(inputs, 'pixels'), outputs: asPicture(outputs, 'inverted') };
    writeFileSync(join(folder, 'model.yaml'), JSON.stringify({ signature: said }));
    const described = await manifestOf(folder);
    const versions = createLoadedVersions(backend, systemClock);
    await versions.load(folder, described);
    const png = await (await openSharp(Uint8Array.of(0, 1, 254, 255), GREY)).png().toBuffer();
    const sent = { ...GIVEN, pixels: { image: { b64: png.toString('base64') } } };
    const decoded = await versions.prepare(
      'types',
      1,
      await createInputEncoder(described, readImageHeader).encode([sent]),
    );
    const [result] = await (await versions.compute('types', 1, decoded)).results;
    versions.unload('types', 1);
    const answered = result?.ok ? result.outputs.inverted : undefined;
    expect(answered?.dtype).toBe('image');
    const pixels = (await openImage(answered?.data ?? new Uint8Array())).toColourspace('b-w').raw();
    expect([...(await pixels.toBuffer())]).toEqual([255, 254, 1, 0]);
  });

  it('fail alone what they cannot give', async () => {
    const pool = await openNative();
    try {
      const { inputs, outputs } = manifest.signature;
      const narrow = outputs.map((spec) => ({
        ...spec,
        dtype: spec.name === 'squared' ? 'int32' : spec.dtype,
      }));
      await pool.load(MODEL, {
        ...manifest,
        signature: { inputs, outputs: narrow } as Manifest['signature'],
      });
      const [good, bad] = instances as [Instance, Instance];
      const { results } = await pool.submit({
        kind: 'types@1|all',
        policy: { ...manifest.batching, maxInFlight: 1 },
        instances: [good, bad, good, good],
        bytes: 400,
        timeoutMs: 30_000,
      });
      expect(results.map((each) => (each.ok ? nestedOf(each.outputs) : each.code))).toEqual([
        COMPUTED,
        'backend_error',
        COMPUTED,
        COMPUTED,
      ]);
    } finally {
      await pool.close();
    }
  });
});

function nestedOf(outputs: Instance): Record<string, unknown> {
  return Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, toNested(value)]));
}

function openNative(): Promise<BackendPool> {
  const deps = {
    child: new URL('../../dist/worker/inference/child/main.js', import.meta.url),
    options: { librariesDir: SLUICE_CACHE_DIR, logLevel: 'silent' },
    clock: systemClock,
    log: createLogger('test', 'silent'),
    metrics: createInferenceMetrics(new Registry()),
  };
  return openBackendPool(deps, 'native');
}

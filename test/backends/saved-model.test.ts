/**
 * A SavedModel as Keras exported it: read without TensorFlow, refused where it may not run, equal to Keras where it runs.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { PIXELS, readDigits } from '../../deploy/models/mnist/idx.js';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { readModelFolder } from '../../shared/model-packages/model-folder.js';
import { readSavedModel } from '../../shared/model-packages/saved-model/signature.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { verifyFiles } from '../../worker/inference/child/verified-files.js';
import { createBackendSelection, NotHere } from '../../worker/inference/versions/backend-selection.js';
import { ROOT } from '../support/stack.js';

/** The 10,000 are a multiple of it. */
const BATCH = 500;
const MODELS = join(ROOT, 'test/fixtures/models');
const SIGNATURE = {
  inputs: [{ name: 'image', dtype: 'float32', shape: [28, 28, 1] }],
  outputs: [{ name: 'output_0', dtype: 'float32', shape: [10] }],
};
const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
if (nativeFault) {
  console.warn(
    `\n!!! SKIPPED: no SavedModel is run: ${nativeFault}. To have it: npm run backend:install -- cpu\n`,
  );
}

const root = mkdtempSync(join(tmpdir(), 'sluice-saved-model-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A copy that a test may spoil. */
let models: string;
let folder: string;
beforeEach(() => {
  models = mkdtempSync(join(root, 'models-'));
  cpSync(join(MODELS, 'mnist-cnn'), join(models, 'mnist-cnn'), { recursive: true });
  folder = join(models, 'mnist-cnn/1');
});

async function manifestOf(): Promise<Manifest> {
  const {
    versions: [version],
    faulty,
  } = await readModelFolder(models);
  if (!version) throw new Error(faulty.map(({ why }) => why).join());
  return version.manifest;
}

/** One operation of the graph, of the same length so that the bytes around it stay what they are. */
function replaceOperation(from: string, to: string): void {
  const path = join(folder, 'saved_model.pb');
  const bytes = readFileSync(path);
  const found = bytes.indexOf(from);
  if (found < 0 || from.length !== to.length) throw new Error(`${from} cannot be replaced by ${to}`);
  for (let at = found; at >= 0; at = bytes.indexOf(from, at + 1)) bytes.write(to, at);
  writeFileSync(path, bytes);
}

describe('a SavedModel', () => {
  it('tells its own signature', async () => {
    expect((await manifestOf()).signature).toEqual(SIGNATURE);
  });

  it('needs no model.yaml', async () => {
    const { files, ...described } = await manifestOf();
    rmSync(join(folder, 'model.yaml'));
    const derived = await manifestOf();
    expect(derived).toEqual({
      name: described.name,
      version: described.version,
      format: 'saved_model',
      signature: SIGNATURE,
      // Keras exports its function under two names.
      signatureName: 'serving_default',
      signatures: { serve: SIGNATURE },
      batching: { maxBatchSize: 32, maxDelayMs: 5 },
      files,
    });
    await verifyFiles(folder, derived);
    rmSync(join(folder, 'saved_model.pb'));
    await expect(manifestOf()).rejects.toThrow('1: there is neither saved_model.pb nor model.json');
  });

  it('may be described further, but not otherwise', async () => {
    const path = join(folder, 'model.yaml');
    const text = readFileSync(path, 'utf8');
    const withOutput = (name: string) =>
      `${text}signature:\n  inputs: [{name: image, dtype: float32, shape: [28, 28, 1], description: ink}]\n` +
      `  outputs: [{name: ${name}, dtype: float32, shape: [10]}]\n`;
    writeFileSync(path, withOutput('output_0'));
    expect((await manifestOf()).signature.inputs[0]?.description).toBe('ink');
    writeFileSync(path, withOutput('digit'));
    await expect(manifestOf()).rejects.toThrow(
      /\/signature\/outputs\/0\/name is none .* output_0 float32 \[\?, 10\]/,
    );
  });

  it.each([
    ['its signature', 'MaxPool', 'PyFuncX'],
    ['its signature', 'BiasAdd', 'ReadFil'],
  ])('is refused when %s reaches an operation that does not only compute', async (where, from, to) => {
    replaceOperation(from, to);
    await expect(readSavedModel(folder)).rejects.toThrow(
      `${where} uses operations that are not allowed: ${to}`,
    );
  });

  it('is refused when its loading does more than put variables in their place', async () => {
    // Restoring is the only reader of the checkpoint.
    replaceOperation('RestoreV2', 'WriteFile');
    await expect(readSavedModel(folder)).rejects.toThrow(
      'its loading uses operations that are not allowed: WriteFile',
    );
  });

  it('is refused, without harm, when it is no SavedModel', async () => {
    writeFileSync(join(folder, 'saved_model.pb'), 'nothing of the kind');
    await expect(readSavedModel(folder)).rejects.toThrow();
    writeFileSync(join(folder, 'saved_model.pb'), '');
    await expect(readSavedModel(folder)).rejects.toThrow(/must hold one graph, with the one tag "serve"/);
  });

  it('has no file that its manifest does not list', async () => {
    const manifest = await manifestOf();
    await verifyFiles(folder, manifest);
    writeFileSync(join(folder, 'variables/more'), 'x');
    await expect(verifyFiles(folder, manifest)).rejects.toThrow(/variables\/more is not listed/);
  });

  it.each(['wasm', 'cpu'] as const)('is refused by %s, which cannot run it', async (name) => {
    const manifest = await manifestOf();
    const { backend } = await chooseBackend(name, SLUICE_CACHE_DIR);
    await expect(backend.load(folder, manifest)).rejects.toThrow(`not on ${name}`);
  });

  it('is left to other workers where no backend runs it', async () => {
    const pools = {
      names: ['wasm', 'cpu'] as BackendName[],
      first: { backend: { refused: [] } },
      of: () => Promise.reject(new Error('must not be asked')),
    };
    const timings = { get: () => null, set: () => undefined };
    const selection = createBackendSelection(pools as never, timings, {} as never, systemClock);
    const selected = selection.select(folder, await manifestOf());
    await expect(selected).rejects.toThrow(NotHere);
    await expect(selected).rejects.toThrow('no backend of this worker runs the format saved_model');
  });
});

describe.skipIf(nativeFault !== null)('a SavedModel on native', () => {
  it('computes what Keras computed, to 1e-5, and keeps no tensor', async () => {
    const manifest = await manifestOf();
    const { backend } = await chooseBackend('native', SLUICE_CACHE_DIR);
    const versions = createLoadedVersions(backend, systemClock);
    const before = backend.liveTensors();
    const { goldenDifference } = await versions.load(folder, manifest);
    expect(goldenDifference).toBeLessThan(1e-5);
    const loaded = backend.liveTensors();
    const model = await backend.load(folder, manifest);
    for (let i = 0; i < 50; i++) {
      const image = { dtype: 'float32' as const, shape: [3, 28, 28, 1], data: new Float32Array(3 * 784) };
      const { output_0: output } = await model.run({ image });
      expect(output?.shape).toEqual([3, 10]);
      const wrong = { ...image, shape: [3, 784] };
      await expect(model.run({ image: wrong })).rejects.toThrow(/input image is \[3, 784\]/);
      await expect(model.run({})).rejects.toThrow(/input image is missing/);
    }
    expect(backend.liveTensors()).toBe(loaded);
    model.dispose();
    versions.unload('mnist-cnn', 1);
    expect(backend.liveTensors()).toBe(before);
  }, 60_000);

  it('reads of the 10,000 test digits as many as its making script measured', async () => {
    const manifest = await manifestOf();
    const { backend } = await chooseBackend('native', SLUICE_CACHE_DIR);
    const model = await backend.load(folder, manifest);
    const digits = readDigits('t10k');
    let right = 0;
    for (let first = 0; first < digits.count; first += BATCH) {
      const pixels = digits.pixels.subarray(first * PIXELS, (first + BATCH) * PIXELS);
      const data = Float32Array.from(pixels, (pixel) => pixel / 255);
      const { output_0: output } = await model.run({
        image: { dtype: 'float32', shape: [BATCH, 28, 28, 1], data },
      });
      for (let row = 0; row < BATCH; row++) {
        const scores = output?.data.slice(row * 10, row * 10 + 10) as Float32Array;
        if (scores.indexOf(Math.max(...scores)) === digits.labels[first + row]) right++;
      }
    }
    model.dispose();
    expect(right / digits.count).toBeGreaterThanOrEqual(0.985);
    expect(right / digits.count).toBeCloseTo(Number(manifest.provenance?.testAccuracy), 3);
  }, 60_000);

  it('computes what Keras 2 computed, though its file holds parts of its training', async () => {
    const saved = join(ROOT, 'test/fixtures/exports/trained/1');
    const trained = await readManifest(saved, { name: 'trained', version: 1 });
    const { backend } = await chooseBackend('native', SLUICE_CACHE_DIR);
    const versions = createLoadedVersions(backend, systemClock);
    expect((await versions.load(saved, trained)).goldenDifference).toBeLessThan(1e-6);
    versions.unload('trained', 1);
  });

  it('refuses what was put in the place of its graph, before TensorFlow sees it', async () => {
    const manifest = await manifestOf();
    const { backend } = await chooseBackend('native', SLUICE_CACHE_DIR);
    replaceOperation('MaxPool', 'PyFuncX');
    await expect(createLoadedVersions(backend, systemClock).load(folder, manifest)).rejects.toThrow(
      /saved_model\.pb has the sha256/,
    );
    await expect(backend.load(folder, manifest)).rejects.toThrow(/not allowed: PyFuncX/);
  }, 60_000);
});

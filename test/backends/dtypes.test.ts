/**
 * SavedModels of strings, and of integers and floats of every width: what TensorFlow computes for them, from JSON to JSON.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { createInputEncoder, type InputEncoder } from '../../shared/contract/tensors/input.js';
import { presentPredictions } from '../../shared/contract/tensors/prediction.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { keepsSharedStrings } from '../../shared/native/string-tensors.js';
import { faultOfInstall, loadTensorflow } from '../../shared/native/tensorflow-library.js';
import type { Backend } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { runOn } from '../support/local-backends.js';
import { ROOT } from '../support/stack.js';

const FIXTURES = join(ROOT, 'test/fixtures/dtypes');
const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
if (nativeFault) console.warn(`\n!!! SKIPPED: no SavedModel is run: ${nativeFault}.\n`);
const givesStrings = nativeFault === null && keepsSharedStrings(loadTensorflow(SLUICE_CACHE_DIR, 'cpu'));
if (nativeFault === null && !givesStrings)
  console.warn(
    '\n!!! SKIPPED: the binding here gives no strings. To have it: npm run backend:install -- cpu\n',
  );

const root = mkdtempSync(join(tmpdir(), 'sluice-dtypes-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Columns = Record<string, unknown[]>;
const expectedOf = (name: string): { inputs: Columns; outputs: Columns } =>
  JSON.parse(readFileSync(join(FIXTURES, name, '1/expected.json'), 'utf8'));

/** Returns a copy of a fixture with a model.yaml, and files beside it. */
function folderOf(name: string, files: Record<string, string> = {}): string {
  const folder = mkdtempSync(join(root, `${name}-`));
  cpSync(join(FIXTURES, name, '1'), folder, { recursive: true });
  rmSync(join(folder, 'expected.json'));
  for (const [path, content] of Object.entries(files)) writeFileSync(join(folder, path), content);
  return folder;
}

const manifestOf = (name: string, folder = folderOf(name)) => readManifest(folder, { name, version: 1 });
const toldOf = async (name: string) => {
  const { inputs, outputs } = (await manifestOf(name)).signature;
  return [inputs, outputs].map((specs) =>
    specs.map((each) => `${each.name} ${each.dtype} [${each.shape.map(String)}]`),
  );
};

/** Returns the rows of columns as objects. */
function rowsOf(columns: Columns): Record<string, unknown>[] {
  const [first = []] = Object.values(columns);
  return first.map((_, row) =>
    Object.fromEntries(Object.entries(columns).map(([name, all]) => [name, all[row]])),
  );
}

describe('the types of a SavedModel', () => {
  it('are told as they are', async () => {
    expect(await toldOf('texts')).toEqual([
      ['text string []', 'words string [null]'],
      [
        ...['bucket int64 []', 'joined string []', 'label string []', 'labels string [3]', 'length int32 []'],
        ...['same string [null]', 'shouted string [null]'],
      ],
    ]);
    const [inputs] = await toldOf('numbers');
    expect(inputs).toEqual([
      ...['float64 float64 [2]', 'int16 int16 [2]', 'int32 int32 [2]', 'int64 int64 [2]', 'int8 int8 [2]'],
      ...['uint16 uint16 [2]', 'uint32 uint32 [2]', 'uint64 uint64 [2]'],
    ]);
  });

  it.each([
    ['float32', '/signature/inputs/0/dtype is float32; the model has string'],
    ['image', '/signature/inputs/0/dtype is image, which has height, width and channels'],
  ])('are not to be called %s where they are strings', async (dtype, message) => {
    const folder = folderOf('parsed', {
      'model.yaml': `signature: {inputs: [{name: text, dtype: ${dtype}, shape: []}]}`,
    });
    await expect(manifestOf('parsed', folder)).rejects.toThrow(message);
  });
});

describe.skipIf(nativeFault !== null)('the types of a SavedModel on native', () => {
  let backend: Backend;
  let versions: LoadedVersions;
  beforeAll(async () => {
    ({ backend } = await chooseBackend('native', SLUICE_CACHE_DIR));
    versions = createLoadedVersions(backend, systemClock);
  });

  async function load(name: string, folder = folderOf(name)) {
    const manifest = await manifestOf(name, folder);
    const report = await versions.load(folder, manifest);
    const encoder = createInputEncoder(manifest, readImageHeader);
    /** Resolves with what a caller gets as JSON. */
    const predict = async (instances: unknown[]) => {
      const encoded = await encoder.encode(JSON.parse(JSON.stringify(instances)));
      const results = await runOn(versions, name, 1, encoded);
      const outputs = results.map((each) => (each.ok ? each.outputs : {}));
      return JSON.parse(JSON.stringify(presentPredictions(packInstances(outputs))));
    };
    return { report, predict, encoder };
  }

  it('give exactly what TensorFlow gave for numbers, at their limits', async () => {
    const { inputs, outputs } = expectedOf('numbers');
    const { predict } = await load('numbers');
    const before = backend.liveTensors();
    // JSON.stringify writes -0 as 0.
    const expected = JSON.parse(JSON.stringify(rowsOf(outputs)));
    expect(await predict(rowsOf(inputs))).toEqual(expected);
    const text = rowsOf({ ...inputs, int64: [['-9223372036854775808', '9007199254740993']] });
    expect(await predict([...text, ...rowsOf(inputs)])).toEqual([...expected, ...expected]);
    expect(backend.liveTensors()).toBe(before);
    versions.unload('numbers', 1);
  });

  it.each(['parsed', 'samples'])('give exactly what TensorFlow gave for strings: %s', async (name) => {
    const { inputs, outputs } = expectedOf(name);
    const { report, predict } = await load(name);
    const given = rowsOf(inputs).map((row) => Object.values(row)[0]);
    expect(await predict(given)).toEqual(Object.values(outputs)[0]);
    // A number as text is found as an example; nothing of two samples is.
    expect(report).toMatchObject(
      name === 'parsed'
        ? { wasComputed: true, warnings: [], isolatedSignatures: [] }
        : {
            wasComputed: false,
            isolatedSignatures: ['serving_default'],
            warnings: [expect.stringMatching(/^It was never computed: no golden instance shows/)],
          },
    );
    versions.unload(name, 1);
  });

  it('fail alone where a text is none that the model takes', async () => {
    const { predict } = await load('parsed');
    await expect(predict(['1', 'one'])).rejects.toThrow(
      /StringToNumberOp could not correctly convert string: one/,
    );
    versions.unload('parsed', 1);
  });

  it.skipIf(givesStrings)('are refused where the binding would lose strings that it gives', async () => {
    await expect(load('texts')).rejects.toThrow(
      /^output .* is string, which the native library .* backend:install/,
    );
  });

  describe.skipIf(!givesStrings)('with strings that it gives', () => {
    let predict: (instances: unknown[]) => Promise<unknown[]>;
    let encoder: InputEncoder;
    const { inputs, outputs } = expectedOf('texts');
    const { labels, ...rows } = outputs;
    const expected = rowsOf(rows).map((row) => ({ ...row, labels }));

    it('are those of TensorFlow, run after run, and keep nothing', async () => {
      ({ predict, encoder } = await load('texts'));
      const before = backend.liveTensors();
      // A constant of the graph has to outlive each run.
      for (let i = 0; i < 20; i++) expect(await predict(rowsOf(inputs))).toEqual(expected);
      expect(await predict(rowsOf(inputs).slice(1))).toEqual(expected.slice(1));
      expect(backend.liveTensors()).toBe(before);
    });

    it('leave no memory behind', async () => {
      const long = 'x'.repeat(100_000);
      const given = new Array(32).fill({ text: long, words: [long, long] });
      const encoded = await encoder.encode(given);
      const rssAfterRuns = async () => {
        for (let i = 0; i < 5; i++) await runOn(versions, 'texts', 1, encoded);
        return process.memoryUsage.rss();
      };
      await rssAfterRuns();
      const before = await rssAfterRuns();
      // 190 MB go in, and 380 MB come out.
      for (let i = 0; i < 3; i++) await rssAfterRuns();
      const after = await rssAfterRuns();
      expect(after - before).toBeLessThan(150e6);
      versions.unload('texts', 1);
    });

    it('are padded by empty ones and cut back', async () => {
      const words = '{name: words, dtype: string, shape: [null], padding: {sizes: [3, 8]}}';
      const cut = ['same', 'shouted'].map((name) => `{name: ${name}, unpad: words}`);
      const yaml = `signature: {inputs: [{name: text}, ${words}], outputs: [${cut}]}`;
      const padded = await load('texts', folderOf('texts', { 'model.yaml': yaml }));
      const given = [['a'], ['b', 'ccc'], ['d', 'e', 'f']];
      expect(await padded.predict(given.map((each) => ({ text: 'x', words: each })))).toEqual(
        given.map((each) => ({ same: each, shouted: each.map((word) => `${word}!`) })),
      );
      versions.unload('texts', 1);
    });
  });

  it('agree with golden strings and integers, or do not serve', async () => {
    const golden = (value: unknown) => JSON.stringify({ instances: ['12'], outputs: [{ value }] });
    const yaml = 'golden: golden.json';
    const good = folderOf('parsed', { 'model.yaml': yaml, 'golden.json': golden(12) });
    expect((await load('parsed', good)).report.goldenDifference).toBe(0);
    versions.unload('parsed', 1);
    const bad = folderOf('parsed', { 'model.yaml': yaml, 'golden.json': golden(12.5) });
    await expect(load('parsed', bad)).rejects.toThrow(
      'golden instance 0: output value[0] is 12, golden 12.5',
    );
  });
});

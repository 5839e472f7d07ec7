/**
 * The operations that SavedModels may use, each family computed by TensorFlow to 1e-5 of what it computed when
 * test/fixtures/operations.py made them: sound, sizes of pictures, linear algebra, segments, ragged and sparse tensors, words,
 * control flow of both kinds, tables and chance. TensorFlow's own registry is compared with the table of operations.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tableOf } from '../../deploy/native/operation-rules.js';
import { registeredOperations } from '../../deploy/native/registered-operations.js';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { type Manifest, withSignature } from '../../shared/contract/models/manifest.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { toNested } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { faultOfInstall, TENSORFLOW_VERSION } from '../../shared/native/tensorflow-library.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import type { LoadReport } from '../../worker/inference/protocol/messages.js';
import { editSavedModel, findFunction } from '../support/saved-model-edit.js';
import { ROOT } from '../support/stack.js';

type Values = Record<string, unknown[]>;
type Expected = Record<string, { inputs: Values; outputs: Values }>;

const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
if (nativeFault)
  console.warn(
    `\n!!! SKIPPED: no operation is computed, nor compared with TensorFlow's: ${nativeFault}. To have it: npm run backend:install -- cpu\n`,
  );
const compilerFault = spawnSync('g++', ['--version']).error !== undefined;
if (compilerFault) console.warn('\n!!! SKIPPED: the table of operations is not compared: there is no g++\n');
const FIXTURES = join(ROOT, 'test/fixtures/operations');
const root = mkdtempSync(join(tmpdir(), 'sluice-operations-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function expectedOf(name: string): Expected {
  return JSON.parse(readFileSync(join(FIXTURES, name, '1/expected.json'), 'utf8'));
}

/** Returns a copy of a fixture, with a model.yaml. */
function folderOf(name: string, yaml = '', more: Record<string, string> = {}): string {
  const folder = mkdtempSync(join(root, `${name}-`));
  cpSync(join(FIXTURES, name, '1'), folder, { recursive: true });
  for (const [path, text] of Object.entries({ 'model.yaml': yaml, ...more }))
    if (text) writeFileSync(join(folder, path), text);
  return folder;
}

const manifestOf = (folder: string) => readManifest(folder, { name: 'tried', version: 1 });

describe.skipIf(nativeFault !== null)('TensorFlow', () => {
  let versions: LoadedVersions;
  beforeAll(async () => {
    versions = createLoadedVersions((await chooseBackend('native', SLUICE_CACHE_DIR)).backend, systemClock);
  });

  it.skipIf(compilerFault)(
    'has the operations that the table has a class for, and no other',
    async () => {
      const made = tableOf(TENSORFLOW_VERSION, await registeredOperations(SLUICE_CACHE_DIR));
      const kept = readFileSync(join(ROOT, 'shared/model-packages/saved-model/operations.tsv'), 'utf8');
      expect(kept.split('\n')).toEqual(made.split('\n'));
    },
    60_000,
  );

  async function load(folder: string): Promise<[Manifest, LoadReport]> {
    const manifest = await manifestOf(folder);
    return [manifest, await versions.load(folder, manifest)];
  }

  /** Computes a batch as a caller sends it, and returns the rows of each output. */
  async function predict(manifest: Manifest, signatureName: string, inputs: Values): Promise<Values> {
    const own = withSignature(manifest, signatureName);
    if (!own) throw new Error(`there is no signature ${signatureName}`);
    const rows = Object.values(inputs)[0]?.length ?? 0;
    const instances = Array.from({ length: rows }, (_, row) =>
      Object.fromEntries(Object.entries(inputs).map(([name, values]) => [name, values[row]])),
    );
    const select = signatureName === manifest.signatureName ? {} : { signatureName };
    const encoded = await createInputEncoder(own, readImageHeader).encode(instances);
    const decoded = await versions.prepare('tried', 1, encoded, select);
    const results = await (await versions.compute('tried', 1, decoded, { select })).results;
    const predictions = results.map((result) => {
      if (!result.ok) throw new Error(result.message);
      return result.outputs;
    });
    const names = own.signature.outputs.map(({ name }) => name);
    return Object.fromEntries(
      names.map((name) => [name, predictions.map((each) => each[name] && toNested(each[name]))]),
    );
  }

  it('computes each family as it did when it exported it', async () => {
    const expected = expectedOf('computing');
    const [manifest, report] = await load(folderOf('computing', 'signatureName: sound'));
    const { warnings, isolatedSignatures } = report;
    expect(isolatedSignatures).toEqual(['sound']);
    // Keras cuts off what is quiet beside the loudest of the batch.
    expect(warnings).toEqual([expect.stringMatching(/depend on who shares the batch: mel differs/)]);
    expect(Object.keys(manifest.signatures ?? {}).sort()).toEqual(
      Object.keys(expected)
        .filter((name) => name !== 'sound')
        .sort(),
    );
    for (const [name, { inputs, outputs }] of Object.entries(expected))
      expectClose(await predict(manifest, name, inputs), outputs, name);
  }, 60_000);

  it('is given other values than zeros by golden vectors, which a matrix to invert may need', async () => {
    const folder = folderOf('computing', 'signatureName: algebra');
    // The product alone, which for zeros has no inverse.
    editSavedModel(folder, (graph) => {
      const nodes = findFunction(graph, 'MatrixInverse').getNodeDefList();
      nodes.find((each) => each.getOp() === 'MatrixInverse')?.setInputList(['MatMul:output:0']);
    });
    await expect(load(folder)).rejects.toThrow(
      /a batch of 1 failed: .*not invertible.* Zeros were tried; golden vectors may show values that it computes/s,
    );
  }, 60_000);

  it("looks up in tables, which it fills from the version's own vocabulary", async () => {
    const { inputs, outputs } = expectedOf('tables').serving_default ?? { inputs: {}, outputs: {} };
    const [manifest] = await load(folderOf('tables'));
    expect(Object.keys(manifest.files)).toContain('assets/words.txt');
    expectClose(await predict(manifest, 'serving_default', inputs), outputs, 'tables');
    // The table is that of the file.
    const [changed] = await load(folderOf('tables', '', { 'assets/words.txt': '20\n7\n-4\n' }));
    const { words } = await predict(changed, 'serving_default', inputs);
    expect(words?.[0]).toEqual([1, 4, 4]);
  }, 60_000);

  it('looks up texts as callers send them', async () => {
    const { inputs, outputs } = expectedOf('texts').serving_default ?? { inputs: {}, outputs: {} };
    const [manifest, { warnings }] = await load(folderOf('texts'));
    expect(warnings).toEqual([]);
    expect(await predict(manifest, 'serving_default', inputs)).toEqual(outputs);
  }, 60_000);

  it('computes an export of old: loops, branches, variables and tables within one graph', async () => {
    const { inputs, outputs } = expectedOf('of-old').serving_default ?? { inputs: {}, outputs: {} };
    const [manifest] = await load(folderOf('of-old'));
    expectClose(await predict(manifest, 'serving_default', inputs), outputs, 'of-old');
  }, 60_000);

  it('draws random numbers where model.yaml allows it, and checks no more than can be', async () => {
    const { inputs = {} } = expectedOf('chance').serving_default ?? {};
    const golden = {
      instances: [[0, 1, 2]],
      outputs: [{ mean: raw(0, 0, 0), z: raw(0, 0, 0) }],
    };
    const folder = folderOf('chance', 'stateful: allow\ngolden: golden.json\n', {
      'golden.json': JSON.stringify(golden),
    });
    const [manifest, report] = await load(folder);
    expect(report).toMatchObject({ goldenDifference: null, isolatedSignatures: [], warnings: [] });
    // Without `keep`, which would keep what a caller sends.
    expect(Object.keys(manifest.signatures ?? {}).sort()).toEqual(['count', 'flip', 'generator']);
    const draw = () => predict(manifest, 'serving_default', inputs);
    const [one, other] = [await draw(), await draw()];
    expect(one.mean).toEqual(other.mean);
    expect(one.z).not.toEqual(other.z);
    const means = inputs.mean?.flat() as number[];
    for (const [i, z] of ((one.z ?? []).flat() as number[]).entries())
      expect(Math.abs(z - (means[i] as number))).toBeLessThan(1);
    const { mean = [] } = inputs;
    const numbers = async () => (await predict(manifest, 'generator', { mean })).z;
    expect(await numbers()).not.toEqual(await numbers());
    const pictures = { x: expectedOf('chance').flip?.inputs.x ?? [] };
    const flips = new Set<string>();
    await expect
      .poll(async () => flips.add(JSON.stringify((await predict(manifest, 'flip', pictures)).y)).size)
      .toBeGreaterThan(1);
    const count = async () => (await predict(manifest, 'count', { x: [[0, 0, 0]] })).y?.[0] as number[];
    const [before] = await count();
    expect(await count()).toEqual(new Array(3).fill((before as number) + 1));
    // A golden vector of another form is still found out.
    writeFileSync(join(folder, 'golden.json'), JSON.stringify({ ...golden, outputs: [{ mean: raw(0, 0) }] }));
    await expect(load(folder)).rejects.toThrow('output mean has 3 elements, golden 2');
  }, 60_000);
});

function raw(...values: number[]): { b64: string } {
  return { b64: Buffer.from(Float32Array.from(values).buffer).toString('base64') };
}

function expectClose(computed: Values, expected: Values, of: string): void {
  expect(Object.keys(computed).sort(), of).toEqual(Object.keys(expected).sort());
  for (const [name, values] of Object.entries(expected)) {
    const [a, b] = [computed[name]?.flat(9), values.flat(9)] as [number[], number[]];
    expect(a.length, `${of} ${name}`).toBe(b.length);
    const peak = Math.max(1, ...b.map(Math.abs));
    for (const [i, value] of b.entries())
      expect(Math.abs((a[i] as number) - value), `${of} ${name}[${i}]`).toBeLessThan(1e-5 * peak);
  }
}

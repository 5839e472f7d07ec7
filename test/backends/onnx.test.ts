/** ONNX files on ONNX Runtime: exports as people have them, against what ONNX Runtime computes in Python. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { elementsOf, type Instance, toNested } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { faultOfOnnxRuntime } from '../../shared/native/onnx-runtime.js';
import type { Backend, BackendName } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { stack } from '../../worker/backends/tensors.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import type { InstanceResult } from '../../worker/inference/protocol/messages.js';
import { createBackendSelection, NotHere } from '../../worker/inference/versions/backend-selection.js';
import { runOn } from '../support/local-backends.js';
import { ONNX_FIXTURES, ONNX_MODELS, versionOfOnnx } from '../support/onnx-models.js';
import { ROOT } from '../support/stack.js';
import type { TinyModel } from '../support/tiny-models.js';

const { SLUICE_CACHE_DIR } = loadConfig();
const fault = faultOfOnnxRuntime(SLUICE_CACHE_DIR);
if (fault) console.warn(`!!! SKIPPED: ONNX files: ${fault}. To have them: npm run backend:install -- onnx`);
const root = mkdtempSync(join(tmpdir(), 'sluice-onnx-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const EXPECTED = JSON.parse(readFileSync(join(ONNX_FIXTURES, 'expected.json'), 'utf8')) as Record<
  string,
  Record<'inputs' | 'outputs', Record<string, unknown[]>>
>;

it('is refused with the command that brings ONNX Runtime, where that is missing', async () => {
  await expect(chooseBackend('onnx', join(root, 'empty-cache'))).rejects.toThrow(
    /^onnx cannot serve: .*it is not installed\. Run: npm run backend:install -- onnx$/,
  );
});

describe.skipIf(fault !== null)('an ONNX file', () => {
  let backend: Backend;
  let versions: LoadedVersions;
  beforeAll(async () => {
    ({ backend } = await chooseBackend('onnx', SLUICE_CACHE_DIR));
    versions = createLoadedVersions(backend, systemClock);
  });

  const load = ({ folder, manifest }: TinyModel) => versions.load(folder, manifest);

  async function predict(manifest: Manifest, instances: readonly unknown[]): Promise<unknown[]> {
    const encoded = await createInputEncoder(manifest, readImageHeader).encode([...instances]);
    const results = await runOn(versions, manifest.name, manifest.version, encoded);
    return results.map(nestedOf);
  }

  it.each(Object.keys(EXPECTED))('computes %s as ONNX Runtime does in Python', async (name) => {
    const version = await versionOfOnnx(root, name);
    const { signature } = version.manifest;
    await load(version);
    const { inputs, outputs } = EXPECTED[name] as (typeof EXPECTED)[string];
    const rows = signature.inputs.find(({ batch }) => batch !== 'shared')?.name as string;
    const count = (inputs[rows] as unknown[]).length;
    const rowOf = (values: Record<string, unknown[]>, specs: Manifest['signature']['inputs'], row: number) =>
      Object.fromEntries(
        specs.map(({ name: own, batch }) => [own, batch === 'shared' ? values[own] : values[own]?.[row]]),
      );
    const given = Array.from({ length: count }, (_, row) => rowOf(inputs, signature.inputs, row));
    const wanted = given.map((_, row) => rowOf(outputs, signature.outputs, row));
    const computed = await predict(version.manifest, given);
    for (const [row, values] of wanted.entries())
      for (const [output, value] of Object.entries(values))
        expectClose((computed[row] as Record<string, unknown>)[output], value, `${output} of row ${row}`);
  });

  it('made by tf2onnx computes the golden vectors of the Keras model', async () => {
    const folder = join(ROOT, 'test/fixtures/models/mnist-cnn-onnx/1');
    const manifest = await readManifest(folder, { name: 'mnist-cnn-onnx', version: 1 });
    const report = await load({ folder, manifest });
    expect(report.goldenDifference).toBeLessThan(1e-5);
    expect(report).toMatchObject({ isolatedSignatures: [], warnings: [] });
  });

  it('is left to other workers where ONNX Runtime is missing, with the command that brings it', async () => {
    const empty = join(root, 'empty-cache');
    const pools = {
      names: ['wasm', 'cpu', 'onnx'] as BackendName[],
      first: { backend: { refused: [] } },
      of: (name: BackendName) => chooseBackend(name, empty),
    };
    const timings = { get: () => null, set: () => undefined };
    const selection = createBackendSelection(pools as never, timings, {} as never, systemClock);
    const { folder, manifest } = await versionOfOnnx(root, 'fixed');
    const selected = selection.select(folder, manifest);
    await expect(selected).rejects.toThrow(NotHere);
    await expect(selected).rejects.toThrow(/runs the format onnx; .*Run: npm run backend:install -- onnx$/);
  });

  it('computes with weights from a file beside it', async () => {
    const version = await versionOfOnnx(root, 'external', { beside: ['weights.data'] });
    await load(version);
    const row = Array.from({ length: 64 }, (_, i) => i + 1);
    expect(await predict(version.manifest, [row])).toEqual([{ y: [1, 2] }]);
  });

  it('computes with every integer of 64 bits', async () => {
    const version = await versionOfOnnx(root, 'types');
    await load(version);
    const given = {
      ...Object.fromEntries(Object.entries(EXPECTED.types?.inputs ?? {}).map(([name, [row]]) => [name, row])),
      i64: ['-9223372036854775808', '9223372036854775807'],
      u64: [1, '18446744073709551615'],
    };
    const [row] = await predict(version.manifest, [given]);
    expect(row).toMatchObject({ i64_out: given.i64, u64_out: given.u64, f64_out: [0.1, -1e300] });
  });

  it('fails at an int64 that model.yaml narrows too far, and wraps none', async () => {
    const yaml = 'signature: {inputs: [{name: x, dtype: int32}], outputs: [{name: y, dtype: int32}]}';
    const version = await versionOfOnnx(root, 'large', { yaml });
    await load(version);
    expect(await predict(version.manifest, [[-2000]])).toEqual([{ y: [-2_000_000_000] }]);
    await expect(predict(version.manifest, [[3000]])).rejects.toThrow(
      'output y is 3000000000, which int32 does not hold',
    );
  });

  it('takes pictures with the channels first', async () => {
    const input =
      '{name: image, dtype: image, scale: 0.00392156862745098, preprocess: {resize: fill, mean: [0.5, 0, 0], std: [0.25, 1, 0.5]}}';
    const version = await versionOfOnnx(root, 'picture', { yaml: `signature: {inputs: [${input}]}` });
    await load(version);
    const raw = { width: 2, height: 2, channels: 3, background: { r: 255, g: 51, b: 0 } } as const;
    const png = await sharp({ create: raw }).png().toBuffer();
    const image = { image: { b64: png.toString('base64') } };
    const [result] = (await predict(version.manifest, [image])) as [{ means: number[]; scores: number[] }];
    expectClose(result.means, [2, 0.2, 0], 'means');
    expectClose(result.scores, [2, 0.2], 'scores');
  });

  it('is padded and masked', async () => {
    const version = ONNX_MODELS.masked(root);
    await load(version);
    expect(await predict(version.manifest, [[1, 2, 3], [4]])).toEqual([
      { products: [1, 2, 3], sum: 6 },
      { products: [4], sum: 4 },
    ]);
  });

  it('has its jobs apart where their predictions depend on the batch', async () => {
    expect(await load(ONNX_MODELS.centred(root))).toMatchObject({
      isolatedSignatures: ['serving_default'],
      warnings: [expect.stringContaining('depend on who shares the batch')],
    });
  });

  it('that draws random numbers is served where model.yaml says so, and keeps no jobs apart', async () => {
    const version = await versionOfOnnx(root, 'random', { yaml: 'stateful: allow' });
    expect(await load(version)).toMatchObject({ isolatedSignatures: [], warnings: [] });
    const [one, other] = await predict(version.manifest, [
      [1, 1],
      [1, 1],
    ]);
    expect(one).not.toEqual(other);
  });

  it('of an opset of tomorrow is refused with the words of ONNX Runtime', async () => {
    const version = await versionOfOnnx(root, 'too-new');
    await expect(load(version)).rejects.toThrow(/Opset 99 is under development/);
    expect(backend.liveTensors()).toBe(0);
  });

  it('runs on no other backend', async () => {
    const { folder, manifest } = await versionOfOnnx(root, 'fixed');
    const { backend: cpu } = await chooseBackend('cpu', SLUICE_CACHE_DIR);
    await expect(cpu.load(folder, manifest)).rejects.toThrow('an ONNX file runs on onnx, not on cpu');
    await expect(backend.load(folder, { ...manifest, format: 'graph' })).rejects.toThrow(
      'a model of the format graph does not run on onnx',
    );
  });

  it('gives its memory back over large outputs', async () => {
    const { folder, manifest } = ONNX_MODELS.double(root);
    const model = await backend.load(folder, manifest);
    const shape = [3, 512, 512];
    const data = new Uint8Array(4 * elementsOf(shape));
    const picture: Instance = { small: { dtype: 'float32', shape, data } };
    const run = () => model.run({ small: stack([picture], 'small') });
    for (let i = 0; i < 10; i++) await run();
    const before = process.memoryUsage().rss;
    // 12 MB in and four times as many out, each time.
    for (let i = 0; i < 60; i++) await run();
    expect(process.memoryUsage().rss - before).toBeLessThan(400e6);
    model.dispose();
  });
});

function nestedOf(result: InstanceResult): unknown {
  if (!result.ok) throw new Error(result.message);
  return Object.fromEntries(Object.entries(result.outputs).map(([name, value]) => [name, toNested(value)]));
}

function expectClose(computed: unknown, expected: unknown, what: string): void {
  const [own, wanted] = [[computed].flat(9), [expected].flat(9)];
  expect(own, what).toHaveLength(wanted.length);
  for (const [i, value] of wanted.entries()) {
    if (typeof value !== 'number') expect(own[i], `${what}[${i}]`).toBe(value);
    else
      expect(Math.abs(Number(own[i]) - value), `${what}[${i}]`).toBeLessThanOrEqual(
        1e-6 * Math.max(1, Math.abs(value)),
      );
  }
}

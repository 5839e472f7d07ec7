/** Sounds through models: a graph model of TensorFlow.js with padding, and SavedModels of a varying and of a fixed length. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { createInputEncoder } from '../../shared/contract/tensors/input.js';
import { type Instance, toNested } from '../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../shared/images/image.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { sliceInstances } from '../../worker/inference/consumer/slices.js';
import { runOn } from '../support/local-backends.js';
import { soundFile, wavOf } from '../support/sounds.js';
import { ROOT } from '../support/stack.js';
import { writeMasked } from '../support/tiny-models.js';

const root = mkdtempSync(join(tmpdir(), 'sluice-sounds-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
if (nativeFault) console.warn(`\n!!! SKIPPED: no SavedModel is given a sound: ${nativeFault}.\n`);

const audio = (bytes: Buffer) => ({ audio: { b64: bytes.toString('base64') } });
const encode = (manifest: Manifest, sounds: readonly Buffer[]): Promise<Instance[]> =>
  createInputEncoder(manifest, readImageHeader).encode(sounds.map(audio));

/** Whole samples of 16 bits, which float32 adds exactly. */
const ramp = (length: number) => Array.from({ length }, (_, i) => i * 256);
const levels = (samples: readonly number[]) => samples.map((sample) => sample / 2 ** 15);

describe('a graph model that takes sounds', () => {
  let versions: LoadedVersions;
  let manifest: Manifest;
  beforeAll(async () => {
    const masked = writeMasked(root);
    const [, mask] = masked.manifest.signature.inputs;
    const sound: TensorSpec = {
      name: 'x',
      dtype: 'audio',
      sampleRate: 16_000,
      shape: [null],
      padding: { sizes: [8, 16], value: 7 },
    };
    const inputs = [sound, mask as TensorSpec];
    manifest = { ...masked.manifest, signature: { ...masked.manifest.signature, inputs } };
    const { backend } = await chooseBackend('wasm', '');
    versions = createLoadedVersions(backend, systemClock);
    expect(await versions.load(masked.folder, manifest)).toMatchObject({ warnings: [] });
  });

  it('computes two files of unlike length and rate in one batch', async () => {
    const [short, long] = [ramp(5), ramp(8)];
    const instances = await encode(manifest, [wavOf(short), wavOf(long), wavOf(ramp(8), 32_000)]);
    expect(sliceInstances(instances, manifest, { maxBatchSize: 8 })).toHaveLength(1);
    const results = await runOn(versions, 'masked', 1, instances);
    const products = results.map((each) => each.ok && toNested(each.outputs.products as never));
    expect(products.slice(0, 2)).toEqual([levels(short), levels(long)]);
    expect(products[2]).toHaveLength(4);
    expect(results[1]?.ok && toNested(results[1].outputs.sum as never)).toBe(levels([28 * 256])[0]);
  });

  it('fails alone where a sound is damaged behind its header', async () => {
    const whole = soundFile('wasted.flac');
    const damaged = Buffer.from(whole);
    damaged[whole.length - 9] = (damaged[whole.length - 9] as number) ^ 1;
    const [input] = manifest.signature.inputs;
    const open = { ...input, padding: { sizes: [1024] } } as never;
    const wide = { ...manifest, signature: { ...manifest.signature, inputs: [open] } };
    const instances = await encode(wide, [damaged, whole]);
    const [failed, sound] = await versions.prepare('masked', 1, instances);
    expect(failed).toEqual({ ok: false, code: 'invalid_audio', message: 'x: is damaged' });
    expect(sound).toMatchObject({ ok: true });
  });
});

describe.skipIf(nativeFault !== null)('a SavedModel that takes sounds', () => {
  let versions: LoadedVersions;
  beforeAll(async () => {
    const { backend } = await chooseBackend('native', SLUICE_CACHE_DIR);
    versions = createLoadedVersions(backend, systemClock);
  });

  async function load(name: string, input: string, more = '', room = 'signatures'): Promise<Manifest> {
    const folder = join(root, name);
    cpSync(join(ROOT, 'test/fixtures', room, name, '1'), folder, { recursive: true });
    writeFileSync(join(folder, 'model.yaml'), `signature: {inputs: [{dtype: audio, ${input}}]}\n${more}`);
    const manifest = await readManifest(folder, { name, version: 1 });
    await versions.load(folder, manifest);
    return manifest;
  }

  it('of any length computes each alone', async () => {
    const manifest = await load(
      'waveform',
      'name: waveform, sampleRate: 16000',
      'batching: {dimension: none}',
    );
    expect(manifest.signature.inputs[0]).toMatchObject({ dtype: 'audio', shape: [null] });
    for (const samples of [ramp(4), ramp(10)]) {
      const [result] = await runOn(versions, 'waveform', 1, await encode(manifest, [wavOf(samples)]));
      const sums = levels(samples.filter((_, i) => i % 2 === 0)).map((even) => [2 * even + 256 / 2 ** 15]);
      expect(result?.ok && toNested(result.outputs.frames as never)).toEqual(sums);
    }
  });

  it('of float64 gets them as such, and one of int16 is refused with the way on', async () => {
    const integers = ['int8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64'];
    const manifest = await load('numbers', 'name: float64, sampleRate: 16000', '', 'dtypes');
    expect(manifest.signature.inputs[0]).toMatchObject({ name: 'float64', dtype: 'audio', shape: [2] });
    const zeros = Object.fromEntries(integers.map((name) => [name, [0, 0]]));
    const encoder = createInputEncoder(manifest, readImageHeader);
    const instances = await encoder.encode([{ ...zeros, float64: audio(wavOf([8192, -256])) }]);
    const [result] = await runOn(versions, 'numbers', 1, instances);
    const outputs = result?.ok ? result.outputs : {};
    expect(toNested(outputs.negated as never)).toEqual([-0.25, 2 ** -7]);
    expect(outputs.third?.dtype).toBe('float64');
    expect(toNested(outputs.third as never)).toEqual([0.25 / 3, -(2 ** -7) / 3]);
    await expect(load('numbers', 'name: int16, sampleRate: 16000', '', 'dtypes')).rejects.toThrow(
      /is audio, which is given as floats; the model has int16: give its samples as numbers/,
    );
  });

  it('of a fixed length gets silence behind what is shorter', async () => {
    const manifest = await load('fixed-4', 'name: x, sampleRate: 16000, preprocess: {samples: pad}');
    const results = await runOn(
      versions,
      'fixed-4',
      1,
      await encode(manifest, [wavOf(ramp(4)), wavOf(ramp(3))]),
    );
    const sums = results.map((each) => each.ok && toNested(each.outputs.sum as never));
    expect(sums).toEqual(levels([6 * 256, 3 * 256]));
  });
});

/** Signatures of tfjs graph models on every backend: outputs that are never exchanged, whole pixels, and what a warm-up finds. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { type Instance, toNested } from '../../shared/contract/tensors/tensor.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { createLoadedVersions, type LoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import type { InstanceResult } from '../../worker/inference/protocol/messages.js';
import { runOn, TFJS_BACKENDS } from '../support/local-backends.js';
import {
  floats,
  type TinyModel,
  writeBrightness,
  writeCentred,
  writeDense,
  writeMasked,
  writeTwins,
} from '../support/tiny-models.js';

const { SLUICE_CACHE_DIR } = loadConfig();
const root = mkdtempSync(join(tmpdir(), 'sluice-graphs-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const outputsOf = (result: InstanceResult | undefined) => {
  if (!result?.ok) throw new Error(result?.message ?? 'there is no result');
  return Object.fromEntries(Object.entries(result.outputs).map(([name, value]) => [name, toNested(value)]));
};

const skipped = TFJS_BACKENDS.filter(({ fault }) => fault !== null);
if (skipped.length > 0)
  console.warn(`!!! SKIPPED: ${skipped.map(({ name, fault }) => `${name} (${fault})`).join(', ')}`);

for (const { name, fault } of TFJS_BACKENDS)
  describe.skipIf(fault !== null)(`a graph model on ${name}`, () => {
    let folder: string;
    let versions: LoadedVersions;
    beforeAll(async () => {
      folder = mkdtempSync(join(root, name));
      versions = createLoadedVersions((await chooseBackend(name, SLUICE_CACHE_DIR)).backend, systemClock);
    }, 30_000);
    const load = (tiny: TinyModel) => versions.load(tiny.folder, tiny.manifest);

    it('has its outputs paired by the keys of its signature', async () => {
      const tiny = writeTwins(folder, 'twins');
      const report = await load(tiny);
      expect(report).toMatchObject({ isolatedSignatures: [], wasComputed: true, warnings: [] });
      const [result] = await runOn(versions, 'twins', 1, [floats('input.1', [1, 2])]);
      expect(outputsOf(result)).toEqual({ negated: [-1, -2], doubled: [2, 4] });
    });

    it('gives a row for each instance, though its signature tells of one alone', async () => {
      const told = (node: string, rows: string) => ({
        name: `${node}:0`,
        dtype: 'DT_FLOAT',
        tensorShape: { dim: [{ size: rows }, { size: '2' }] },
      });
      const signature = {
        inputs: { 'input.1': told('x', '-1') },
        outputs: { doubled: told('Identity_1', '1'), negated: told('Identity', '1') },
      };
      const tiny = writeTwins(folder, 'one-row', { signature });
      const manifest = await readManifest(tiny.folder, { name: 'one-row', version: 1 });
      expect(await versions.load(tiny.folder, manifest)).toMatchObject({ wasComputed: true, warnings: [] });
      const rows = [floats('input.1', [1, 2]), floats('input.1', [3, 4])];
      expect((await runOn(versions, 'one-row', 1, rows)).map(outputsOf)).toEqual([
        { negated: [-1, -2], doubled: [2, 4] },
        { negated: [-3, -4], doubled: [6, 8] },
      ]);
    });

    it('has no output of a name that only order could pair', async () => {
      const outputs = ['a', 'b'].map((output) => ({ name: output, dtype: 'float32' as const, shape: [2] }));
      await expect(load(writeTwins(folder, 'unpaired', { outputs }))).rejects.toThrow(
        /outputs \(a, b\) are not the model's \(doubled, negated\); `from` gives/,
      );
    });

    it('fails with an output of another shape than it declares', async () => {
      const outputs = [{ name: 'doubled', dtype: 'float32' as const, shape: [3] }];
      await expect(load(writeTwins(folder, 'misshaped', { outputs }))).rejects.toThrow(
        'output doubled is [2], the signature says [3]',
      );
    });

    it('takes pictures as whole pixels, and was tried at a size that it did not tell', async () => {
      const report = await load(writeBrightness(folder));
      expect(report).toMatchObject({ wasComputed: true, warnings: [] });
      const pixels = Buffer.from([255, 0, 7, 1, 2, 3, 250, 9, 100]);
      const data = await sharp(pixels, { raw: { width: 3, height: 1, channels: 3 } })
        .png()
        .toBuffer();
      const picture: Instance = { picture: { dtype: 'image', shape: [1, 3, 3], data } };
      const [result] = await runOn(versions, 'brightness', 1, [picture]);
      expect(outputsOf(result)).toEqual({ sum: 627 });
      const inputs = [{ name: 'picture', dtype: 'image' as const, shape: [null, null, 3], scale: 0.5 }];
      await expect(load(writeBrightness(folder, { name: 'scaled', inputs }))).rejects.toThrow(
        'is int32, which takes pixels as they are, without scale, mean and std',
      );
    });

    it('says that it was never computed when it computes at no size', async () => {
      const tiny = writeBrightness(folder, { name: 'nowhere' });
      const [spec] = tiny.manifest.signature.inputs;
      if (spec) spec.maxShape = [0, 0, 3];
      const report = await load(tiny);
      expect(report).toMatchObject({ wasComputed: false, isolatedSignatures: ['serving_default'] });
      expect(report.warnings).toEqual([
        expect.stringMatching(/^It was never computed: a size of its input varies/),
      ]);
    });

    it('is found to give each row what the others make of it', async () => {
      const report = await load(writeCentred(folder));
      expect(report.isolatedSignatures).toEqual(['serving_default']);
      expect(report.warnings[0]).toMatch(/depend on who shares the batch: y differs by/);
      for (const tiny of [writeDense(folder), writeMasked(folder)])
        expect((await load(tiny)).isolatedSignatures, tiny.manifest.name).toEqual([]);
    });
  });

describe('the manifest of a graph model', () => {
  it('is told by the signature in model.json', async () => {
    const { folder } = writeTwins(root, 'told');
    const { signature, batching } = await readManifest(folder, { name: 'told', version: 1 });
    expect(signature).toEqual({
      inputs: [{ name: 'input.1', dtype: 'float32', shape: [2] }],
      outputs: ['doubled', 'negated'].map((name) => ({ name, dtype: 'float32', shape: [2] })),
    });
    expect(batching).toEqual({ maxBatchSize: 32, maxDelayMs: 5 });
  });
});

/**
 * A row is what it is alone, whoever it shares a batch with: the bundled digits, on every backend that this machine can load,
 * in batches of any size and order, filled up or not.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { faultOfOnnxRuntime } from '../../shared/native/onnx-runtime.js';
import { faultOfInstall } from '../../shared/native/tensorflow-library.js';
import type { Backend, BackendName } from '../../worker/backends/backend.js';
import { chooseBackend } from '../../worker/backends/choose.js';
import { readGolden } from '../../worker/inference/child/golden.js';
import { createLoadedVersions } from '../../worker/inference/child/loaded-versions.js';
import { createRandom } from '../faults/random.js';
import { ROOT } from '../support/stack.js';

const { SLUICE_CACHE_DIR } = loadConfig();
const nativeFault = faultOfInstall(SLUICE_CACHE_DIR, 'cpu');
const onnxFault = faultOfOnnxRuntime(SLUICE_CACHE_DIR);
const BACKENDS: BackendName[] = [
  ...(['cpu', 'wasm'] as const),
  ...(nativeFault === null ? (['native'] as const) : []),
  ...(onnxFault === null ? (['onnx'] as const) : []),
];
console.warn(
  `Composition of batches: ${BACKENDS.join(', ')}; not native: ${nativeFault}, not onnx: ${onnxFault}`,
);

/** Digits in the format of a backend, and the name of their output. */
function subjectOf(name: BackendName): [folder: string, output: string] {
  return name === 'onnx'
    ? [join(ROOT, 'test/fixtures/models/mnist-cnn-onnx/1'), 'output_0']
    : [join(ROOT, 'deploy/models/mnist/1'), 'probabilities'];
}

const PREFERRED = [1, 8, 32];
const BATCHES = 30;

/** Sizes of the batches that the backend is given are noted in `sizes`. */
async function openVersions(name: BackendName, manifest: Manifest, sizes: number[]) {
  const [folder, output] = subjectOf(name);
  const { backend } = await chooseBackend(name, SLUICE_CACHE_DIR);
  const noting: Backend = {
    ...backend,
    liveTensors: backend.liveTensors,
    async load(at, of) {
      const model = await backend.load(at, of);
      return {
        dispose: model.dispose,
        run(batch) {
          sizes.push(batch.image?.shape[0] ?? 0);
          return model.run(batch);
        },
      };
    },
  };
  const versions = createLoadedVersions(noting, systemClock);
  await versions.load(folder, manifest);
  return {
    async compute(instances: readonly Instance[], exact = false): Promise<number[][]> {
      const prepared = await versions.prepare('mnist', 1, instances);
      const { results } = await versions.compute('mnist', 1, prepared, { exact });
      return (await results).map((result) => {
        if (!result.ok) throw new Error(result.message);
        return [...toTypedArray('float32', result.outputs[output]?.data ?? new Uint8Array())];
      });
    },
    unload: () => versions.unload('mnist', 1),
  };
}

describe.each(BACKENDS)('on %s', (name) => {
  const [folder] = subjectOf(name);
  let manifest: Manifest;
  let digits: Instance[];
  beforeAll(async () => {
    manifest = await readManifest(folder, { name: 'mnist', version: 1 });
    digits = (await readGolden(folder, manifest))?.instances ?? [];
  });

  it.each<[string, number[] | undefined]>([
    ['of any size', undefined],
    ['filled up to preferred sizes', PREFERRED],
  ])('a row of a batch %s is what it is alone', async (_, preferredSizes) => {
    const sizes: number[] = [];
    const batching = { maxBatchSize: 32, maxDelayMs: 5, ...(preferredSizes && { preferredSizes }) };
    const { compute, unload } = await openVersions(name, { ...manifest, batching }, sizes);
    const warmedUp = sizes.splice(0).slice(digits.length);
    const least = preferredSizes?.[0] ?? 1;
    // After that, unlike rows were compared: together, and each by itself.
    const compared = [preferredSizes?.find((size) => size >= 3) ?? 3, least, least, least];
    expect(warmedUp, 'warmed up at each size').toEqual([...(preferredSizes ?? [1, 32]), ...compared]);

    const alone: number[][] = [];
    for (const digit of digits) alone.push(...(await compute([digit], true)));
    sizes.length = 0;
    const random = createRandom(1);
    const drawn: number[] = [];
    for (let i = 0; i < BATCHES; i++) {
      const places = Array.from({ length: random.between(1, 32) }, () =>
        random.between(0, digits.length - 1),
      );
      drawn.push(places.length);
      const rows = await compute(places.map((place) => digits[place] as Instance));
      expect(rows).toHaveLength(places.length);
      for (const [row, place] of places.entries()) {
        if (name === 'cpu') expect(rows[row]).toEqual(alone[place]);
        else
          for (const [k, value] of (alone[place] as number[]).entries())
            expect(Math.abs((rows[row]?.[k] ?? Number.NaN) - value)).toBeLessThan(1e-5);
      }
    }
    const given = preferredSizes ? drawn.map((size) => preferredSizes.find((each) => each >= size)) : drawn;
    expect(sizes).toEqual(given);
    unload();
  });
});

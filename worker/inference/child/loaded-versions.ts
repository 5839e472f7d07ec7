/**
 * The versions that a child has loaded, and what it computes with them.
 *
 *   verify files -> load -> golden vectors -> warm up -> ready        a fault on the way: freed, not loaded, the reason told
 *
 * Promises: a version that is not exactly what its manifest states never computes for a caller; one instance that cannot be
 * decoded, or for which the model computes NaN or Infinity, fails alone; a throw of the backend fails the call.
 */
import type { Clock } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import { SluiceError } from '../../../shared/contract/errors.js';
import { type Manifest, sentInputs, type TensorSpec } from '../../../shared/contract/models/manifest.js';
import {
  BYTES_PER_ELEMENT,
  type Dtype,
  elementsOf,
  type Instance,
  type Value,
} from '../../../shared/contract/tensors/tensor.js';
import type { Backend, BatchTensors, LoadedModel } from '../../backends/backend.js';
import { finiteRows, split, stack } from '../../backends/tensors.js';
import type { InstanceResult, LoadReport, Speed } from '../protocol/messages.js';
import { filledSize } from '../protocol/padded-shape.js';
import { compareGolden, type GoldenVectors, readGolden } from './golden.js';
import { decodeImage, encodeImage } from './images.js';
import { examplesBySize, padInstance, trim, trimBatch } from './padding.js';
import { rank } from './ranking.js';
import { verifyFiles } from './verified-files.js';

interface Version {
  manifest: Manifest;
  model: LoadedModel;
  /** What it is warmed up and measured with; null when a size varies and no golden instance shows one. */
  example: Instance | null;
}

export type Decoded = Sound | Extract<InstanceResult, { ok: false }>;

interface Sound {
  ok: true;
  /** Images decoded. */
  instance: Instance;
  /** As the model is given it. */
  padded: Instance;
}

export interface Computed {
  /** One for each instance, in order; pictures are still being encoded when this is handed out. */
  results: Promise<InstanceResult[]>;
  /** In the backend alone: without images, stacking and splitting. */
  computeMs: number;
}

/** Of a measurement, however slow they are: one alone may be the unlucky one. */
const LEAST_RUNS = 3;

export type Versions = ReturnType<typeof createVersions>;

export function createVersions(backend: Backend, clock: Clock) {
  const versions = new Map<string, Version>();

  function loadedVersion(name: string, number: number): Version {
    const version = versions.get(keyOf(name, number));
    if (!version) throw new Error(`${keyOf(name, number)} is not loaded`);
    return version;
  }

  return {
    /** Replaces a version of the same name and number once the new one is ready. */
    async load(folder: string, manifest: Manifest): Promise<LoadReport> {
      const started = clock.monotonic();
      await verifyFiles(folder, manifest);
      const golden = await readGolden(folder, manifest);
      const example = await exampleOf(manifest, golden);
      const version = { manifest, example, model: await backend.load(folder, manifest) };
      try {
        const goldenDifference = golden ? await checkGolden(version, golden) : null;
        const loaded = clock.monotonic();
        await warmUp(version);
        const key = keyOf(manifest.name, manifest.version);
        versions.get(key)?.model.dispose();
        versions.set(key, version);
        return { loadMs: loaded - started, warmUpMs: clock.monotonic() - loaded, goldenDifference };
      } catch (error) {
        version.model.dispose();
        throw error;
      }
    },

    /** One that is not loaded is as good. */
    unload(name: string, number: number): void {
      const key = keyOf(name, number);
      versions.get(key)?.model.dispose();
      versions.delete(key);
    },

    /** Of the backend alone: the median of as many runs as fit, at least `LEAST_RUNS`. Null without an example. */
    async measure(name: string, number: number, batchSize: number, budgetMs: number): Promise<Speed | null> {
      const version = loadedVersion(name, number);
      if (!version.example) return null;
      const example = padInstance(version.manifest.signature, version.example);
      const size = filledSize(version.manifest.batching, batchSize);
      const batch = stackAll(version.manifest, new Array<Instance>(size).fill(example));
      const times: number[] = [];
      const until = clock.monotonic() + budgetMs;
      while (times.length < LEAST_RUNS || clock.monotonic() < until) {
        const started = clock.monotonic();
        await version.model.run(batch);
        times.push(clock.monotonic() - started);
      }
      times.sort((a, b) => a - b);
      const medianMs = times[times.length >> 1] ?? Number.NaN;
      return { batchSize, rowsPerSecond: Number(((batchSize * 1000) / medianMs).toPrecision(3)) };
    },

    /** Decodes pictures, while another batch computes maybe. `instances` have equal shapes and are at most maxBatchSize. */
    async prepare(name: string, number: number, instances: readonly Instance[]): Promise<Decoded[]> {
      const { manifest } = loadedVersion(name, number);
      return Promise.all(instances.map((instance) => decode(manifest, instance)));
    },

    /** Rejects when the backend throws. A batch that is to be `exact` is not filled up to a preferred size. */
    async compute(
      name: string,
      number: number,
      decoded: readonly Decoded[],
      { exact = false } = {},
    ): Promise<Computed> {
      const { manifest, model } = loadedVersion(name, number);
      const sound = decoded.filter((entry) => entry.ok);
      const [first] = sound;
      if (!first) return { results: Promise.resolve(decoded as InstanceResult[]), computeMs: 0 };
      const rows = sound.map(({ padded }) => padded);
      const size = exact ? rows.length : filledSize(manifest.batching, rows.length);
      const filling = new Array<Instance>(size - rows.length).fill(first.padded);
      const batch = stackAll(manifest, [...rows, ...filling]);
      const started = clock.monotonic();
      const outputs = await model.run(batch);
      const computeMs = clock.monotonic() - started;
      return { results: joined(decoded, resultsOf(manifest, outputs, sound)), computeMs };
    },
  };
}

/** Each in its place: what could not be decoded beside what was computed. */
async function joined(
  decoded: readonly Decoded[],
  computing: Promise<InstanceResult[]>,
): Promise<InstanceResult[]> {
  const computed = (await computing).values();
  return decoded.map((entry) => (entry.ok ? (computed.next().value as InstanceResult) : entry));
}

function keyOf(name: string, version: number): string {
  return `${name}@${version}`;
}

/** One at a time: their shapes may differ. */
async function checkGolden({ manifest, model }: Version, golden: GoldenVectors): Promise<number> {
  let largest = 0;
  for (const [index, instance] of golden.instances.entries()) {
    const decoded = await decode(manifest, instance);
    if (!decoded.ok) throw new Error(`golden instance ${index}: ${decoded.message}`);
    const computed = await model.run(stackAll(manifest, [decoded.padded]));
    const trimmed = Object.fromEntries(
      Object.entries(computed).map(([name, batch]) => [
        name,
        trimBatch(manifest, name, batch, decoded.instance),
      ]),
    );
    try {
      largest = Math.max(
        largest,
        compareGolden(golden.outputs[index] ?? {}, trimmed, manifest.quantization?.tolerance),
      );
    } catch (error) {
      throw new Error(`golden instance ${index}: ${messageOf(error)}`);
    }
  }
  return largest;
}

/**
 * Runs batches of every preferred size, else of 1 and of maxBatchSize, at every padded size, so that the first caller waits for no lazy set-up and a model that cannot take a
 * full batch is found now.
 */
async function warmUp({ manifest, model, example }: Version): Promise<void> {
  if (!example) return;
  const { maxBatchSize, preferredSizes = [1, maxBatchSize] } = manifest.batching;
  for (const each of examplesBySize(manifest.signature, example) ?? [example])
    for (const size of new Set(preferredSizes)) {
      const padded = padInstance(manifest.signature, each);
      await model.run(stackAll(manifest, new Array<Instance>(size).fill(padded)));
    }
}

/** The first golden instance, else zeros; null when a size varies and nothing shows one. */
async function exampleOf(manifest: Manifest, golden: GoldenVectors | null): Promise<Instance | null> {
  const example = golden?.instances[0] ?? zeroInstance(sentInputs(manifest.signature));
  if (!example) return null;
  const decoded = await decode(manifest, example);
  if (!decoded.ok) throw new Error(`golden instance 0: ${decoded.message}`);
  return decoded.instance;
}

/** Null when a size varies. */
function zeroInstance(specs: readonly TensorSpec[]): Instance | null {
  const values: Record<string, Value> = {};
  for (const { name, dtype, shape, padding } of specs) {
    const sizes = shape.map((size) => size ?? padding?.sizes[0] ?? null).filter((size) => size !== null);
    if (sizes.length < shape.length) return null;
    const tensorDtype: Dtype = dtype === 'image' ? 'float32' : dtype;
    const data = new Uint8Array(elementsOf(sizes) * BYTES_PER_ELEMENT[tensorDtype]);
    values[name] = { dtype: tensorDtype, shape: sizes, data };
  }
  return values;
}

async function decode({ signature }: Manifest, instance: Instance): Promise<Decoded> {
  const decoded: Record<string, Value> = { ...instance };
  for (const spec of signature.inputs) {
    const value = instance[spec.name];
    if (value?.dtype !== 'image') continue;
    try {
      decoded[spec.name] = await decodeImage(value, spec);
    } catch (error) {
      if (error instanceof SluiceError) throw error;
      return { ok: false, code: 'invalid_image', message: `${spec.name}: ${messageOf(error)}` };
    }
  }
  return { ok: true, instance: decoded, padded: padInstance(signature, decoded) };
}

function stackAll({ signature }: Manifest, instances: readonly Instance[]): BatchTensors {
  return Object.fromEntries(signature.inputs.map(({ name }) => [name, stack(instances, name)]));
}

/** What a caller gets of a row. */
async function finish(
  row: Value,
  spec: TensorSpec,
  inputs: readonly TensorSpec[],
  given: Instance,
): Promise<Value> {
  const value = trim(spec, inputs, row, given);
  if (spec.dtype === 'image') return encodeImage(value, spec);
  return spec.postprocess ? rank(value, spec) : value;
}

async function resultsOf(
  { signature }: Manifest,
  outputs: BatchTensors,
  sound: readonly Sound[],
): Promise<InstanceResult[]> {
  const columns = signature.outputs.map((spec) => {
    const batch = outputs[spec.name];
    if (!batch) throw new Error(`the backend answered without ${spec.name}`);
    return { spec, rows: split(batch), finite: finiteRows(batch) };
  });
  const resultOf = async ({ instance }: Sound, row: number): Promise<InstanceResult> => {
    const values: Record<string, Value> = {};
    for (const { spec, rows, finite } of columns) {
      if (!finite[row]) {
        return { ok: false, code: 'non_finite_output', message: `${spec.name} has NaN or Infinity in it` };
      }
      const value = rows[row] as Value;
      values[spec.name] = await finish(value, spec, signature.inputs, instance);
    }
    return { ok: true, outputs: values };
  };
  return Promise.all(sound.map(resultOf));
}

/**
 * Loaded versions: the versions that a child has, and what it computes with them.
 *
 *   verify files -> load -> golden vectors -> warm up -> ready        a fault on the way: freed, not loaded, the reason told
 *
 * Promises: a version that is not exactly what its manifest states never computes for a caller. Only a version that is loaded to
 * be timed is spared golden vectors and warm-up. When the backend throws, the call fails; a bad instance fails alone
 * (instances.ts).
 */
import type { Clock } from '../../../shared/base/clock.js';
import { type Manifest, nameOfSignature, withSignature } from '../../../shared/contract/models/manifest.js';
import { versionKey } from '../../../shared/contract/models/model-ref.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { Backend, LoadedModel } from '../../backends/backend.js';
import type { InstanceResult, LoadReport, Measurement, Selection, Speed } from '../protocol/messages.js';
import { givenRows } from '../protocol/padded-shape.js';
import { readGolden } from './golden.js';
import { type DecodedInstance, decodeInstance, resultsOf, stackInstances } from './instances.js';
import { padInstance } from './padding.js';
import { verifyFiles } from './verified-files.js';
import { checkGolden, tryVersion } from './version-checks.js';

export interface ComputedBatch {
  /** Resolves with one result for each instance, in their order, when pictures have been encoded. */
  results: Promise<InstanceResult[]>;
  /** The time in the backend alone, without images, stacking and splitting. */
  computeMs: number;
}

export interface LoadedVersions {
  /**
   * Loads a version and checks it, unless another child has `found` its isolated signatures. It replaces one of the same name
   * and number once it is ready.
   */
  load(folder: string, manifest: Manifest, found?: readonly string[] | null): Promise<LoadReport>;
  /** Frees what the version holds, if it is loaded. */
  unload(name: string, version: number): void;
  /** Resolves with the speed of the backend alone, by the median of the runs. Null when the version has no example. */
  measure(name: string, version: number, measurement: Measurement): Promise<Speed | null>;
  /** Decodes pictures; another batch may compute meanwhile. `instances` have equal shapes and are at most maxBatchSize. */
  prepare(
    name: string,
    version: number,
    instances: readonly Instance[],
    select?: Selection,
  ): Promise<DecodedInstance[]>;
  /** Computes a batch; rejects when the backend throws. An `exact` batch is not filled up to a preferred size. */
  compute(
    name: string,
    version: number,
    decoded: readonly DecodedInstance[],
    options?: { select?: Selection | undefined; exact?: boolean },
  ): Promise<ComputedBatch>;
}

interface LoadedVersion {
  manifest: Manifest;
  model: LoadedModel;
  /** The instance by which it is warmed up and measured; null when it has none. */
  example: Instance | null;
  /** In batches of these signatures, rows that nobody gets would change the others. */
  isolatedSignatures: readonly string[];
}

/** Returns the versions on this backend, none at first. */
export function createLoadedVersions(backend: Backend, clock: Clock): LoadedVersions {
  const versions = new Map<string, LoadedVersion>();

  function loadedVersion(name: string, number: number): LoadedVersion {
    const version = versions.get(versionKey(name, number));
    if (!version) throw new Error(`${versionKey(name, number)} is not loaded`);
    return version;
  }

  return {
    async load(folder, manifest, found = null) {
      const startedMs = clock.monotonic();
      await verifyFiles(folder, manifest);
      const golden = await readGolden(folder, manifest);
      const model = await backend.load(folder, manifest);
      try {
        const goldenDifference = !found && golden ? await checkGolden(manifest, model, golden) : null;
        const loadedMs = clock.monotonic();
        const tried = await tryVersion(manifest, model, golden, found);
        const { example, isolatedSignatures, warnings } = tried;
        const key = versionKey(manifest.name, manifest.version);
        versions.get(key)?.model.dispose();
        versions.set(key, { manifest, model, example, isolatedSignatures });
        const warmUpMs = clock.monotonic() - loadedMs;
        return {
          loadMs: loadedMs - startedMs,
          warmUpMs,
          goldenDifference,
          isolatedSignatures,
          wasComputed: example !== null,
          warnings,
        };
      } catch (error) {
        model.dispose();
        throw error;
      }
    },

    unload(name, number) {
      const key = versionKey(name, number);
      versions.get(key)?.model.dispose();
      versions.delete(key);
    },

    async measure(name, number, { batchSize, budgetMs, leastRuns }) {
      const { manifest, model, example } = loadedVersion(name, number);
      if (!example) return null;
      const padded = padInstance(manifest.signature, example);
      const size = givenRows(manifest, batchSize, false);
      const batch = stackInstances(manifest, new Array<Instance>(size).fill(padded));
      const times: number[] = [];
      const untilMs = clock.monotonic() + budgetMs;
      while (times.length < leastRuns || clock.monotonic() < untilMs) {
        const startedMs = clock.monotonic();
        await model.run(batch);
        times.push(clock.monotonic() - startedMs);
      }
      times.sort((a, b) => a - b);
      const medianMs = times[times.length >> 1] ?? Number.NaN;
      return { batchSize, rowsPerSecond: Number(((batchSize * 1000) / medianMs).toPrecision(3)) };
    },

    async prepare(name, number, instances, select) {
      const manifest = selected(loadedVersion(name, number).manifest, select);
      return Promise.all(instances.map((instance) => decodeInstance(manifest, instance)));
    },

    async compute(name, number, decoded, { select, exact = false } = {}) {
      const { model, isolatedSignatures, ...version } = loadedVersion(name, number);
      const manifest = selected(version.manifest, select);
      const rows = decoded.flatMap((entry) => (entry.ok ? [entry.padded] : []));
      const [first] = rows;
      if (!first) return { results: Promise.resolve(decoded as InstanceResult[]), computeMs: 0 };
      const isIsolated = isolatedSignatures.includes(nameOfSignature(manifest));
      const size = givenRows(manifest, rows.length, exact || isIsolated);
      const filling = new Array<Instance>(size - rows.length).fill(first);
      const batch = stackInstances(manifest, [...rows, ...filling]);
      const startedMs = clock.monotonic();
      const outputs = await model.run(batch, select);
      const computeMs = clock.monotonic() - startedMs;
      return { results: resultsOf(manifest, outputs, decoded), computeMs };
    },
  };
}

function selected(manifest: Manifest, { signatureName }: Selection = {}): Manifest {
  const chosen = withSignature(manifest, signatureName);
  if (!chosen) throw new Error(`there is no signature ${signatureName}`);
  return chosen;
}

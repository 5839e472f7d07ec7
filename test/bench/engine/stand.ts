/**
 * A stand for the engine: one worker that serves one model on one backend with one batch size, and what feeds it without
 * HTTP. Beside it the same backend alone, in a child of the same kind.
 */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { systemClock as clock } from '../../../shared/base/clock.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { type Instance, packInstances } from '../../../shared/contract/tensors/tensor.js';
import { readManifest } from '../../../shared/model-packages/manifest.js';
import type { BackendName } from '../../../worker/backends/backend.js';
import { readGolden } from '../../../worker/inference/child/golden.js';
import { type Feed, openFeed, PREFIX, VERSION } from '../feed.js';
import type { Site } from '../site.js';
import { type BenchWorker, openRedisFor, startWorker } from '../systems.js';
import { readFigures } from '../worker-figures.js';

export interface Stand {
  /** Runs `rows` in jobs of some instances each; all wait before the first is started. */
  drain(rows: number): Promise<Drained>;
  /** Milliseconds from submit to end of jobs of one instance that come one after the other. */
  probe(jobs: number): Promise<number[]>;
}

export interface Drained {
  /** Rows. */
  perSecond: number;
  meanBatch: number;
  /** Share of the time in which the backend ran, of a child. */
  computing: number;
}

export interface StandPlan {
  model: string;
  backend: BackendName;
  batchSize: number;
  /** Folder of the model's folder. */
  modelsDir: string;
  /** The number of instances of a drained job. */
  instances: number;
  /** The number of children of its worker. */
  children: number;
}

/** Starts the worker of a stand, with a Redis of its own. */
export async function openStand(site: Site, plan: StandPlan): Promise<Stand> {
  const { model, backend, batchSize } = plan;
  const name = `${model}-${backend}-${batchSize}`;
  const server = await openRedisFor(site, name);
  const { manifest, modelsDir, instance } = await copyModel(site, name, plan);
  const dataDir = join(site.folder, `${name}-data`);
  const feed = await openFeed(site, server.url, dataDir);
  const worker = await startWorker(site, name, {
    REDIS_URL: server.url,
    SLUICE_DATA_DIR: dataDir,
    SLUICE_MODELS_DIR: modelsDir,
    SLUICE_KEY_PREFIX: PREFIX,
    SLUICE_BACKEND: backend,
    SLUICE_ROLES: 'inference,upkeep',
    SLUICE_CHILDREN: String(plan.children),
  });
  return createStand({ manifest, instance, ...plan, feed, worker });
}

interface Parts {
  manifest: Manifest;
  instance: Instance;
  instances: number;
  children: number;
  feed: Feed;
  worker: BenchWorker;
}

function createStand({ manifest: { name }, instance, instances, children, feed, worker }: Parts): Stand {
  const inputOf = (count: number) => packInstances(new Array<Instance>(count).fill(instance));
  const [one, many] = [inputOf(1), inputOf(instances)];

  async function drain(rows: number): Promise<Drained> {
    const jobs = Math.ceil(rows / instances);
    await feed.pause(name);
    const ends = await feed.fill(jobs, () => feed.submit(name, instances, instances === 1 ? one : many));
    const before = await readFigures(worker);
    const startedMs = clock.monotonic();
    await feed.resume(name);
    // Nothing is asked meanwhile: every look would cost the machine what is measured.
    await Promise.all(ends.map(({ ended }) => ended));
    const seconds = (clock.monotonic() - startedMs) / 1000;
    const now = await readFigures(worker);
    if (now.failed > before.failed) throw new Error(`${now.failed - before.failed} jobs failed`);
    const meanBatch = (now.instances - before.instances) / (now.batches - before.batches);
    const computing = (now.computeSeconds - before.computeSeconds) / seconds / children;
    return { perSecond: (jobs * instances) / seconds, meanBatch, computing };
  }

  async function probe(jobs: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < jobs; i++) {
      const startedMs = clock.monotonic();
      const { ended } = await feed.submit(name, 1, one);
      await ended;
      times.push(clock.monotonic() - startedMs);
    }
    return times;
  }

  return { drain, probe };
}

/** The bundled model in a folder of its own, with another batch size; and its golden instance as a job's input. */
async function copyModel(site: Site, name: string, { model, batchSize, modelsDir: source }: StandPlan) {
  const modelsDir = join(site.folder, `${name}-models`);
  const folder = join(modelsDir, model, String(VERSION));
  cpSync(join(source, model, String(VERSION)), folder, { recursive: true });
  const manifest = await readManifest(folder, { name: model, version: VERSION });
  manifest.batching = { ...manifest.batching, maxBatchSize: batchSize };
  // The other signatures of a SavedModel are read from it and stated nowhere.
  const { signatures: _, ...stated } = manifest;
  writeFileSync(join(folder, 'model.yaml'), stringify(stated));
  const golden = await readGolden(folder, manifest);
  const [instance] = golden?.instances ?? [];
  if (!instance) throw new Error(`${model} has no golden instance to feed`);
  return { manifest, modelsDir, instance };
}

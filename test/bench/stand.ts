/**
 * A stand for the engine: one worker that serves one model on one backend with one batch size, and what feeds it without
 * HTTP. Beside it the same backend alone, in a child of the same kind.
 */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { systemClock as clock } from '../../shared/base/clock.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { type Instance, packInstances } from '../../shared/contract/tensors/tensor.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import { type JobNotices, listenForJobNotices } from '../../shared/core/jobs/job-notices.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { openInferenceQueues } from '../../shared/queue/queues.js';
import { openRedis } from '../../shared/redis/connect.js';
import type { BackendName } from '../../worker/backends/backend.js';
import { readGolden } from '../../worker/inference/child/golden.js';
import { idleConnections } from '../support/connections.js';
import { type Site, tell } from './site.js';
import { type BenchWorker, openRedisFor, startWorker } from './systems.js';

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

const VERSION = 1;
/** Submits under way at once. */
const FILLING = 500;

export async function openStand(site: Site, plan: StandPlan): Promise<Stand> {
  const { model, backend, batchSize } = plan;
  const name = `${model}-${backend}-${batchSize}`;
  const server = await openRedisFor(site, name);
  const { manifest, modelsDir, instance } = await copyModel(site, name, plan);
  const dataDir = join(site.folder, `${name}-data`);
  const prefix = '{bench}';
  const redis = await openRedis(server.url, 'work', report);
  const listener = await openRedis(server.url, 'listen', report);
  site.defer(async () => {
    redis.disconnect();
    listener.disconnect();
  });
  const config = {
    ...loadConfig({}),
    SLUICE_KEY_PREFIX: prefix,
    SLUICE_MAX_QUEUED_PER_TENANT: Number.MAX_SAFE_INTEGER,
    SLUICE_RETENTION_SECONDS: 5,
  };
  const transport = openInferenceQueues(redis, prefix, report);
  const blobs = await openFileBlobs(join(dataDir, 'blobs'), clock);
  const onError = (_: string, error: unknown) => report(error);
  const core = composeCore(config, idleConnections(redis, blobs, { transport, onError }));
  const notices = await listenForJobNotices({ redis: listener, channels: core.keys });
  const worker = await startWorker(site, name, {
    REDIS_URL: server.url,
    SLUICE_DATA_DIR: dataDir,
    SLUICE_MODELS_DIR: modelsDir,
    SLUICE_KEY_PREFIX: prefix,
    SLUICE_BACKEND: backend,
    SLUICE_ROLES: 'inference,upkeep',
    SLUICE_CHILDREN: String(plan.children),
  });
  return createStand({ manifest, instance, ...plan, core, notices, worker });
}

interface Parts {
  manifest: Manifest;
  instance: Instance;
  instances: number;
  children: number;
  core: Core;
  notices: JobNotices;
  worker: BenchWorker;
}

function createStand({ manifest, instance, instances, children, core, notices, worker }: Parts): Stand {
  const inputOf = (count: number) => packInstances(new Array<Instance>(count).fill(instance));
  const [one, many] = [inputOf(1), inputOf(instances)];

  /** Answers its end. */
  async function submit(count: number): Promise<{ ended: Promise<void> }> {
    const id = newId('job', clock.now());
    const ended = endOf(id);
    const input = count === 1 ? one : many;
    await core.jobWriter.write({ spec: specOf(id, manifest.name, count), ttlSeconds: 3600, input });
    return { ended };
  }

  function endOf(id: string): Promise<void> {
    return new Promise((resolve) => {
      const unwatch = notices.onEnd(id, () => {
        unwatch();
        resolve();
      });
    });
  }

  async function drain(rows: number): Promise<Drained> {
    const jobs = Math.ceil(rows / instances);
    await core.queueStatus.pause(manifest.name);
    const ends: Promise<void>[] = [];
    while (ends.length < jobs) {
      const length = Math.min(jobs - ends.length, FILLING);
      const submitted = await Promise.all(Array.from({ length }, () => submit(instances)));
      ends.push(...submitted.map(({ ended }) => ended));
    }
    const before = await read(worker);
    const startedMs = clock.monotonic();
    await core.queueStatus.resume(manifest.name, [VERSION]);
    // Nothing is asked meanwhile: every look would cost the machine what is measured.
    await Promise.all(ends);
    const seconds = (clock.monotonic() - startedMs) / 1000;
    const now = await read(worker);
    if (now.failed > before.failed) throw new Error(`${now.failed - before.failed} jobs failed`);
    const meanBatch = (now.instances - before.instances) / (now.batches - before.batches);
    const computing = (now.computeSeconds - before.computeSeconds) / seconds / children;
    return { perSecond: (jobs * instances) / seconds, meanBatch, computing };
  }

  async function probe(jobs: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < jobs; i++) {
      const startedMs = clock.monotonic();
      const { ended } = await submit(1);
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

function specOf(id: string, model: string, instances: number) {
  return {
    id,
    tenant: 'bench',
    model,
    version: VERSION,
    alias: null,
    priority: 'standard' as const,
    instances,
    timeoutSeconds: 300,
    allowPartial: false,
    metadata: {},
    webhook: null,
    retryOf: null,
  };
}

async function read(worker: BenchWorker) {
  const text = await worker.metrics();
  const sum = (name: string, label = '') =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*${label}[^}]*\\})? (\\S+)$`, 'gm'))].reduce(
      (total, [, value]) => total + Number(value),
      0,
    );
  return {
    failed: sum('sluice_jobs_settled_total') - sum('sluice_jobs_settled_total', 'succeeded'),
    instances: sum('sluice_batch_size_sum'),
    batches: sum('sluice_batch_size_count'),
    computeSeconds: sum('sluice_backend_run_seconds_sum'),
  };
}

function report(error: unknown): void {
  tell(String(error));
}

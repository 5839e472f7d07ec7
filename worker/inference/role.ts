/**
 * The inference role: one executor for the device, one batcher before it, one consumer for each version it serves.
 *
 * A version serves only after the child has verified, loaded and warmed it up; one that fails is reported and left out,
 * the others go on.
 */
import type { Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import { type Config, list } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { nativeEnvironment } from '../../shared/base/native.js';
import type { Redis } from '../../shared/base/redis.js';
import type { Logger } from '../../shared/base/telemetry.js';
import { type Manifest, parseModelRef } from '../../shared/contract/model.js';
import type { Instance } from '../../shared/contract/tensor.js';
import type { Executions } from '../../shared/core/executions.js';
import { type BundledVersion, readModelFolder } from '../../shared/core/folder.js';
import type { Models } from '../../shared/core/models.js';
import type { Payloads } from '../../shared/core/payloads.js';
import { createBatcher } from './batcher.js';
import { type Consumer, startConsumer } from './consumer.js';
import { type Executor, startExecutor } from './executor.js';
import type { InstanceResult } from './messages.js';
import { createInferenceMetrics } from './metrics.js';
import type { Stops } from './stops.js';

export interface InferenceDeps {
  config: Config;
  /** Entry point of the child. */
  child: URL;
  /** For BullMQ. */
  redis: Redis;
  executions: Executions;
  payloads: Payloads;
  stops: Stops;
  models: Models;
  clock: Clock;
  log: Logger;
  registry: Registry;
  onError: (kind: string, error: unknown) => void;
}

/** Tasks that wait in the batcher at most: far above what the consumers' concurrency lets in. */
const MAX_ENQUEUED = 100_000;

export async function startInference(deps: InferenceDeps): Promise<{ close(): Promise<void> }> {
  const { config, clock, log, models } = deps;
  const metrics = createInferenceMetrics(deps.registry);
  const executor = await startExecutor({
    child: deps.child,
    options: {
      backend: config.SLUICE_BACKEND,
      cacheDir: config.SLUICE_CACHE_DIR,
      logLevel: config.LOG_LEVEL,
    },
    environment: nativeEnvironment(
      config.SLUICE_CACHE_DIR,
      config.SLUICE_BACKEND === 'native' ? 'cpu' : 'cuda',
    ),
    clock,
    log,
    onRespawn: () => metrics.childRestarts.inc(),
  });
  const { name, device, refused } = executor.backend;
  log.info({ backend: name, device, refused }, 'backend chosen');
  metrics.backend.set({ backend: name, device }, 1);

  const batcher = createBatcher<Instance, InstanceResult>({
    clock,
    maxEnqueued: MAX_ENQUEUED,
    run: ({ kind, instances, timeoutsMs }) => {
      const { name: model, version } = modelOf(kind);
      return executor.run({ model, version, instances, timeoutsMs });
    },
    onBatch: ({ kind, size, waitMs, computeMs }) => {
      const model = modelOf(kind).name;
      metrics.batchSize.observe({ model }, size);
      metrics.batchWait.observe({ model }, waitMs / 1000);
      metrics.backendRun.observe({ model }, computeMs / 1000);
    },
  });

  const served = list(config.SLUICE_MODELS);
  const bundled = (await readModelFolder(config.SLUICE_MODELS_DIR)).filter(
    ({ manifest }) => served.length === 0 || served.includes(manifest.name),
  );
  const ready = await loadVersions(bundled, executor, models, log);
  const consumers: Consumer[] = ready.map((manifest) =>
    startConsumer({
      ...deps,
      manifest,
      batcher,
      backend: () => executor.backend.name,
      prefix: config.SLUICE_KEY_PREFIX,
      onSettled: (status) => metrics.jobs.inc({ model: manifest.name, status }),
    }),
  );
  return {
    async close() {
      await Promise.all(consumers.map((consumer) => consumer.close()));
      await executor.close();
    },
  };
}

/** Those that are ready. */
async function loadVersions(
  bundled: readonly BundledVersion[],
  executor: Executor,
  models: Models,
  log: Logger,
): Promise<Manifest[]> {
  const ready: Manifest[] = [];
  for (const version of bundled) {
    const { manifest, path } = version;
    await models.register(version);
    await models.report(manifest.name, manifest.version, 'loading');
    try {
      const report = await executor.load(path, manifest);
      await models.report(manifest.name, manifest.version, 'ready', {
        backend: executor.backend.name,
        metrics: { ...report },
      });
      ready.push(manifest);
      log.info({ model: manifest.name, version: manifest.version, ...report }, 'version ready');
    } catch (error) {
      await models.report(manifest.name, manifest.version, 'failed', { error: messageOf(error) });
      log.error({ err: error, model: manifest.name, version: manifest.version }, 'version failed');
    }
  }
  return ready;
}

/** The batcher's kinds begin with the version: "mnist@1|image:784;". */
function modelOf(kind: string): { name: string; version: number } {
  const ref = parseModelRef(kind.slice(0, kind.indexOf('|')));
  if (ref?.version === undefined) throw new Error(`${kind} names no version. This is a bug.`);
  return { name: ref.name, version: ref.version };
}

/**
 * The inference role: it opens a pool for each backend in use, serves the bundled versions, and follows the registry from then on.
 */
import { EventEmitter } from 'node:events';
import type { Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import { list } from '../../shared/base/config.js';
import type { Logger } from '../../shared/base/log.js';
import type { Config } from '../../shared/contract/config.js';
import type { Core } from '../../shared/core/compose.js';
import { createExpiredCounter } from '../../shared/core/jobs/expired-counter.js';
import {
  keepBundled,
  readBundledVersions,
  registerBundled,
} from '../../shared/core/models/bundled-versions.js';
import { TOUCH_MS } from '../../shared/core/models/fetched-versions.js';
import type { Computing } from '../../shared/core/workers/workers.js';
import type { Redis } from '../../shared/redis/connect.js';
import type { BackendName } from '../backends/backend.js';
import { assignGpus, findGpus } from '../devices/gpus.js';
import { findHardware } from '../devices/hardware.js';
import { startTicketConsumer } from './consumer/ticket-consumer.js';
import { startVersionMetrics } from './consumer/version-metrics.js';
import type { WorkerNotices } from './consumer/worker-notices.js';
import { createInferenceMetrics } from './metrics.js';
import { openBackendPool, type PoolEvents } from './pool/backend-pool.js';
import { openBackendPools } from './pool/backend-pools.js';
import { createBackendSelection } from './versions/backend-selection.js';
import { openBackendTimings } from './versions/backend-timings.js';
import { createBackendTrials } from './versions/backend-trial.js';
import { createModelMemory } from './versions/model-memory.js';
import { watchRegistry } from './versions/registry-watch.js';
import { createServedVersions } from './versions/served-versions.js';

export interface InferenceDeps {
  config: Config;
  /** The entry point of the child. */
  child: URL;
  core: Core;
  /** The connection of BullMQ. */
  queueRedis: Redis;
  workerNotices: WorkerNotices;
  clock: Clock;
  log: Logger;
  registry: Registry;
  onError: (kind: string, error: unknown) => void;
}

export interface InferenceRole {
  describe(): Computing;
  /** Returns why this worker is not ready; null when it is. */
  fault(): string | null;
  close(): Promise<void>;
}

/** Resolves once the bundled versions are served or refused; rejects when no configured backend loads. */
export async function startInference(deps: InferenceDeps): Promise<InferenceRole> {
  const { config, child, core, clock, log, onError } = deps;
  const { models } = core;
  const outcomes = core.versionOutcomes.startCounting(onError);
  const metrics = createInferenceMetrics(deps.registry);
  const { SLUICE_CACHE_DIR: cacheDir, SLUICE_LIBRARIES_DIR: librariesDir = cacheDir } = config;
  const options = { librariesDir, logLevel: config.LOG_LEVEL };
  const recycle = {
    maxBatches: config.SLUICE_CHILD_MAX_BATCHES,
    maxRssBytes: config.SLUICE_CHILD_MAX_RSS_BYTES,
  };
  const childCount = config.SLUICE_CHILDREN;
  const gpus = findGpus();
  const hardwareOf = await findHardware();
  const events: PoolEvents = new EventEmitter();
  const poolDeps = { child, options, recycle, childCount, gpus, hardwareOf, clock, log, metrics, events };
  const pools = await openBackendPools(config.SLUICE_BACKEND, (backend) =>
    openBackendPool(poolDeps, backend),
  );
  const { name, device, refused } = pools.first.backend;
  log.info({ backend: name, device, children: pools.first.childCount, refused }, 'backend chosen');

  const onTimingsError = (error: unknown) => onError('backend choices', error);
  const timings = openBackendTimings(cacheDir, onTimingsError, { librariesDir, childCount, gpus });
  const gpusOf = (backend: BackendName) => assignGpus(backend === 'cuda', childCount, gpus);
  const trials = createBackendTrials({ child, options, gpusOf, clock, log });
  const selection = createBackendSelection(pools, timings, trials, clock);
  const memory = createModelMemory(config.SLUICE_MODEL_BYTES, clock);
  metrics.modelBytes(() => memory.bytes);
  const countDeps = { metrics, outcomes, expired: createExpiredCounter(deps.registry) };
  const served = createServedVersions({
    pools,
    events,
    selection,
    memory,
    models,
    metrics,
    clock,
    log,
    onError,
    startConsumer(manifest, route) {
      const { listener, end } = startVersionMetrics(countDeps, manifest);
      const prefix = config.SLUICE_KEY_PREFIX;
      const consumer = startTicketConsumer({ ...deps, prefix, manifest, route, listener });
      return { ...consumer, close: () => consumer.close().finally(end) };
    },
  });

  const names = list(config.SLUICE_MODELS);
  const isWanted = (model: string) => names.length === 0 || names.includes(model);
  const found = await readBundledVersions(config, clock, log);
  const wanted = {
    versions: found.versions.filter(({ manifest }) => isWanted(manifest.name)),
    faulty: found.faulty.filter(({ name }) => isWanted(name)),
  };
  const bundled = await registerBundled(models, wanted, log);
  for (const version of bundled) await served.add(version.path, version);
  const watch = watchRegistry({ ...core, served, bundled, isWanted, clock, onError });
  const stopTending = clock.every(TOUCH_MS, () => {
    core.fetchedVersions.tend().catch((error: unknown) => onError('fetched versions', error));
    void keepBundled(config, found.versions, clock);
  });
  const known = new Set((await models.list()).map(({ name }) => name));
  for (const name of names.filter((name) => !known.has(name)))
    log.warn({ model: name }, 'SLUICE_MODELS names a model of which there is no version yet');

  return {
    describe: served.describe,
    fault: pools.fault,
    async close() {
      watch.close();
      stopTending();
      await served.close();
      await outcomes.close();
    },
  };
}

/**
 * The inference role: lanes for the backends in use, one consumer for each version it serves.
 *
 * A version serves only after a child has verified, loaded and warmed it up; one that fails is reported and left out, the
 * others go on. With `SLUICE_BACKEND=auto` versions then move to the backend that is fastest for them (placing.ts).
 */
import type { Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import { type Config, list } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import type { Redis } from '../../shared/base/redis.js';
import type { Logger } from '../../shared/base/telemetry.js';
import type { Manifest } from '../../shared/contract/model.js';
import type { Executions } from '../../shared/core/executions.js';
import { type BundledVersion, readModelFolder } from '../../shared/core/folder.js';
import type { Models } from '../../shared/core/models.js';
import type { Payloads } from '../../shared/core/payloads.js';
import type { Poisons } from '../../shared/core/poisons.js';
import { openChoices } from './choices.js';
import { startConsumer } from './consumer.js';
import { openLane } from './lane.js';
import { openLanes } from './lanes.js';
import { createInferenceMetrics } from './metrics.js';
import { createPlacing, NotHere, type Placement, type Placing } from './placing.js';
import { createServing, type Serving } from './serving.js';
import type { Stops } from './stops.js';

export interface InferenceDeps {
  config: Config;
  /** Entry point of the child. */
  child: URL;
  /** For BullMQ. */
  redis: Redis;
  executions: Executions;
  payloads: Payloads;
  poisons: Poisons;
  stops: Stops;
  models: Models;
  clock: Clock;
  log: Logger;
  registry: Registry;
  onError: (kind: string, error: unknown) => void;
}

interface Served {
  version: BundledVersion;
  placement: Placement;
  serving: Serving;
}

export async function startInference(deps: InferenceDeps): Promise<{ close(): Promise<void> }> {
  const { config, child, clock, log, models } = deps;
  const metrics = createInferenceMetrics(deps.registry);
  const options = { cacheDir: config.SLUICE_CACHE_DIR, logLevel: config.LOG_LEVEL };
  const wear = {
    maxBatches: config.SLUICE_CHILD_MAX_BATCHES,
    maxRssBytes: config.SLUICE_CHILD_MAX_RSS_BYTES,
  };
  const lanes = await openLanes(config.SLUICE_BACKEND, (backend) =>
    openLane({ child, options, wear, clock, log, metrics }, backend),
  );
  const { name, device, refused } = lanes.first.backend;
  log.info({ backend: name, device, refused }, 'backend chosen');

  const choices = openChoices(config.SLUICE_CACHE_DIR, (error) => deps.onError('backend choices', error));
  const placing = createPlacing(lanes, choices);
  const names = list(config.SLUICE_MODELS);
  const bundled = (await readModelFolder(config.SLUICE_MODELS_DIR)).filter(
    ({ manifest }) => names.length === 0 || names.includes(manifest.name),
  );
  const served = await loadVersions(bundled, placing, models, log);
  const consumers = served.map(({ version: { manifest }, serving }) =>
    startConsumer({
      ...deps,
      manifest,
      serving,
      prefix: config.SLUICE_KEY_PREFIX,
      onSettled: (status) => metrics.jobs.inc({ model: manifest.name, status }),
    }),
  );
  let closing = false;
  settle().catch((error: unknown) => deps.onError('placing', error));

  /** Versions to the backends that are fastest for them, one after the other; then what nobody needs is closed. */
  async function settle(): Promise<void> {
    for (const each of served) if (placing.isOpen(each.version.manifest)) await settleOne(each);
    const inUse = new Set(served.map(({ serving }) => serving.lane));
    if (!closing && inUse.size > 0) await lanes.closeUnused((lane) => inUse.has(lane));
  }

  async function settleOne({ version: { manifest, path }, placement, serving }: Served): Promise<void> {
    if (closing) return;
    const best = await placing.compare(path, manifest, placement);
    // Lanes that close lose every comparison.
    if (closing) return;
    placing.remember(manifest, best);
    await serving.move(best.lane);
    await reportReady(manifest, best, models, log);
  }

  return {
    async close() {
      closing = true;
      await Promise.all(consumers.map((consumer) => consumer.close()));
      await lanes.close();
    },
  };
}

/** Those that are ready. */
async function loadVersions(
  bundled: readonly BundledVersion[],
  placing: Placing,
  models: Models,
  log: Logger,
): Promise<Served[]> {
  const served: Served[] = [];
  for (const version of bundled) {
    const { manifest, path } = version;
    await models.register(version);
    await models.report(manifest.name, manifest.version, 'loading');
    try {
      const placement = await placing.place(path, manifest);
      await reportReady(manifest, placement, models, log);
      served.push({ version, placement, serving: createServing(manifest, placement.lane) });
    } catch (error) {
      await reportUnserved(manifest, error, models, log);
    }
  }
  return served;
}

/** A version that this worker cannot run waits for one that can; its jobs do, too. */
async function reportUnserved(
  { name, version }: Manifest,
  error: unknown,
  models: Models,
  log: Logger,
): Promise<void> {
  const isElsewhere = error instanceof NotHere;
  await models.report(name, version, isElsewhere ? 'pending' : 'failed', { error: messageOf(error) });
  if (isElsewhere) log.info({ model: name, version, why: error.message }, 'version left to other workers');
  else log.error({ err: error, model: name, version }, 'version failed');
}

async function reportReady(
  { name, version }: Manifest,
  { lane, report, comparison }: Placement,
  models: Models,
  log: Logger,
): Promise<void> {
  const backend = lane.backend.name;
  const metrics = { ...report, ...(comparison && { comparison }) };
  await models.report(name, version, 'ready', { backend, metrics });
  log.info({ model: name, version, backend, ...metrics }, 'version ready');
}

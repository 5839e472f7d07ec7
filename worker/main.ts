/**
 * A worker process: does what SLUICE_ROLES says, each role loaded only where it is wanted.
 */
import { systemClock } from '../shared/base/clock.js';
import { list } from '../shared/base/config.js';
import { createErrorLog } from '../shared/base/log.js';
import { createRegistry, serveMetrics } from '../shared/base/metrics.js';
import { run } from '../shared/base/runner.js';
import { VERSION } from '../shared/base/version.js';
import { openBlobs } from '../shared/blobs/open.js';
import { loadConfig } from '../shared/contract/config.js';
import { createBatches } from '../shared/core/batches/batches.js';
import { createCore } from '../shared/core/compose.js';
import { jobLimitsOf } from '../shared/core/jobs/job-limits.js';
import { createCanaries } from '../shared/core/models/canaries.js';
import { createModels } from '../shared/core/models/models.js';
import { startOutcomeCounter } from '../shared/core/models/version-outcomes.js';
import { createVersionRepository } from '../shared/core/models/version-repository.js';
import { createWorkers } from '../shared/core/workers/workers.js';
import { openBatchQueue, openInferenceQueues } from '../shared/queue/queues.js';
import {
  checkDurable,
  openRedis,
  type Purpose,
  redisUrl,
  watchWhileDraining,
} from '../shared/redis/connect.js';
import { createKeys } from '../shared/redis/keys.js';
import { createReadiness } from '../shared/redis/readiness.js';
import { startAnnouncing } from './announce.js';
import type { InferenceRole } from './inference/role.js';

await run('worker', loadConfig, async ({ defer, config, log, draining, abandon }) => {
  const clock = systemClock;
  const registry = createRegistry();
  const onError = createErrorLog(log, clock);
  const onRedisError = (error: Error) => onError('redis', error);
  const open = (purpose: Purpose) =>
    openRedis(redisUrl(config), purpose, onRedisError, (why) => log.warn(why));

  const redis = await open('work');
  defer('redis', () => redis.disconnect());
  watchWhileDraining(redis, clock, draining, () => abandon('Redis does not answer'));
  for (const fault of await checkDurable(redis, config.SLUICE_ALLOW_UNSAFE_REDIS))
    log.warn({ fault }, 'unsafe redis');

  const keys = createKeys(config.SLUICE_KEY_PREFIX);
  // BullMQ's commands have a connection of their own: ioredis builds every pipeline with all scripts of its connection.
  const queueRedis = await open('work');
  defer('queue redis', () => queueRedis.disconnect());
  const transport = openInferenceQueues(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  defer('queues', () => transport.close());
  const blobs = await openBlobs(config, clock);
  defer('blobs', () => blobs.close());
  const limits = jobLimitsOf(config);
  const core = createCore({ clock, redis, keys, transport, blobs, limits, onError });
  const {
    dueIndex,
    predictionCache,
    shadows,
    queueStatus,
    executions,
    files,
    jobs,
    payloads,
    crashBlocklist,
  } = core;
  const queue = openBatchQueue(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  defer('batch queue', () => queue.close());
  const batches = createBatches({ redis, keys, blobs, queue, limits, onError });
  const models = createModels({ redis, keys, clock });

  let inference: InferenceRole | null = null;
  const roles: Record<string, () => Promise<{ close(): Promise<void> }>> = {
    delivery: async () => {
      const { createDeliveryRole } = await import('./delivery/role.js');
      return createDeliveryRole({ config, version: VERSION, open, log, registry, clock });
    },
    upkeep: async () => {
      const { startUpkeep } = await import('./upkeep/role.js');
      const { createExpiredCounter } = await import('../shared/core/jobs/expired-counter.js');
      const { watchQueues } = await import('./upkeep/queue-metrics.js');
      watchQueues({ models, queueStatus, clock, registry });
      return startUpkeep({
        dueIndex,
        files,
        batches,
        canaries: createCanaries({ redis, keys, clock }),
        clock,
        log,
        expired: createExpiredCounter(registry),
        onError,
      });
    },
    batches: async () => {
      const { createBatchResults } = await import('./batches/batch-results.js');
      const { startBatches } = await import('./batches/role.js');
      const { createSubmission } = await import('../shared/core/jobs/submission.js');
      const { createSubmittedCounter } = await import('../shared/core/jobs/submitted-counter.js');
      const { listenForJobNotices } = await import('../shared/core/jobs/job-notices.js');
      const { watchMemory } = await import('../shared/redis/memory-watermark.js');
      const listener = await open('listen');
      defer('batch listener', () => listener.disconnect());
      const watermark = await watchMemory(redis, config.SLUICE_MEMORY_WATERMARK, clock, log);
      defer('watermark', () => watermark.close());
      return startBatches({
        batches,
        jobs,
        files,
        submission: createSubmission({
          jobs,
          models,
          files,
          clock,
          maxInstances: config.SLUICE_MAX_INSTANCES,
          maxFileBytes: config.SLUICE_MAX_BODY_BYTES,
          // The lines of a batch have no webhooks.
          checkWebhookUrl: () => undefined,
          onSubmitted: createSubmittedCounter(registry),
          // Nor do they ask for the predictions of another.
          onCached: () => undefined,
        }),
        results: createBatchResults({ jobs, files, blobs }),
        notices: await listenForJobNotices({ redis: listener, channels: keys }),
        watermark,
        fileRetentionSeconds: limits.fileRetentionSeconds,
        limits: { maxBytes: config.SLUICE_MAX_BODY_BYTES, maxDepth: config.SLUICE_MAX_DEPTH },
        redis: queueRedis,
        prefix: config.SLUICE_KEY_PREFIX,
        registry,
        clock,
        onError,
      });
    },
    inference: async () => {
      const { startInference } = await import('./inference/role.js');
      const { listenForStops } = await import('./inference/consumer/cancel-notices.js');
      const listener = await open('listen');
      defer('listener', () => listener.disconnect());
      const stops = await listenForStops(listener, keys.stopped);
      const child = new URL('./inference/child/main.js', import.meta.url);
      const repository = createVersionRepository({ blobs, models, clock, config });
      inference = await startInference({
        config,
        child,
        redis: queueRedis,
        executions,
        payloads,
        predictionCache,
        shadows,
        crashBlocklist,
        queueStatus,
        stops,
        models,
        outcomes: startOutcomeCounter({ redis, keys }, clock, onError),
        repository,
        clock,
        log,
        registry,
        onError,
      });
      return inference;
    },
  };

  for (const role of list(config.SLUICE_ROLES)) {
    const { close } = (await roles[role]?.()) ?? {};
    if (close) defer(role, close);
  }
  const metrics = await serveMetrics(
    registry,
    { port: config.SLUICE_METRICS_PORT ?? 0, setting: 'SLUICE_METRICS_PORT' },
    log,
    createReadiness({ redis, clock, draining, fault: () => inference?.fault() ?? null }),
  );
  defer('metrics', () => metrics?.close());
  const announcing = startAnnouncing({
    workers: createWorkers({ redis, keys, clock }),
    roles: list(config.SLUICE_ROLES),
    computing: () => inference?.describe() ?? { devices: [], models: [] },
    clock,
    onError,
  });
  defer('announcement', announcing.close);
  log.info({ roles: list(config.SLUICE_ROLES) }, 'worker serves');
});

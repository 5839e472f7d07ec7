/**
 * A worker process plays the roles of SLUICE_ROLES. The code of a role is loaded only where it is wanted.
 */
import { randomUUID } from 'node:crypto';
import { systemClock } from '../shared/base/clock.js';
import { list } from '../shared/base/config.js';
import { createErrorLog } from '../shared/base/log.js';
import { createRegistry, serveMetrics } from '../shared/base/metrics.js';
import { run } from '../shared/base/runner.js';
import { VERSION } from '../shared/base/version.js';
import { openBlobs } from '../shared/blobs/open.js';
import { loadConfig, metricsAddressOf } from '../shared/contract/config.js';
import { composeCore } from '../shared/core/compose.js';
import { createSubmittedCounter } from '../shared/core/jobs/submission/submitted-counter.js';
import { openBatchQueue, openInferenceQueues } from '../shared/queue/queues.js';
import { openRedis, type Purpose, redisUrl } from '../shared/redis/connect.js';
import { watchWhileDraining } from '../shared/redis/draining.js';
import { checkDurable } from '../shared/redis/durability.js';
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

  // BullMQ's commands have a connection of their own: ioredis builds every pipeline with all scripts of its connection.
  const queueRedis = await open('work');
  defer('queue redis', () => queueRedis.disconnect());
  const transport = openInferenceQueues(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  defer('queues', () => transport.close());
  const batchQueue = openBatchQueue(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  defer('batch queue', () => batchQueue.close());
  const blobs = await openBlobs(config, clock);
  defer('blobs', () => blobs.close());
  const roleNames = list(config.SLUICE_ROLES);
  const onSubmitted = roleNames.includes('batches') ? createSubmittedCounter(registry) : undefined;
  const connections = { redis, transport, batchQueue, blobs, clock, onError, onSubmitted };
  const core = composeCore(config, connections);

  let inference: InferenceRole | null = null;
  const roles: Record<string, () => Promise<{ close(): Promise<void> }>> = {
    delivery: async () => {
      const { startDelivery } = await import('./delivery/role.js');
      return startDelivery({ config, connections, open, version: VERSION, registry });
    },
    upkeep: async () => {
      const { startUpkeep } = await import('./upkeep/role.js');
      const { createExpiredCounter } = await import('../shared/core/jobs/expired-counter.js');
      const { registerQueueMetrics } = await import('./upkeep/queue-metrics.js');
      const { registerAutoscaleMetrics } = await import('./upkeep/autoscale-metrics.js');
      registerQueueMetrics({ models: core.models, queueStatus: core.queueStatus, clock, registry });
      registerAutoscaleMetrics({ autoscale: core.autoscale, clock, registry });
      return startUpkeep({ core, clock, log, expired: createExpiredCounter(registry), onError });
    },
    batches: async () => {
      const { startBatches } = await import('./batches/role.js');
      const { listenForJobNotices } = await import('../shared/core/jobs/job-notices.js');
      const { watchMemory } = await import('../shared/redis/memory-watermark.js');
      const listener = await open('listen');
      defer('batch listener', () => listener.disconnect());
      const watermark = await watchMemory(redis, config.SLUICE_MEMORY_WATERMARK, clock, log);
      defer('watermark', () => watermark.close());
      const channels = { ...core.keys, awaited: core.keys.awaited(randomUUID()) };
      const notices = await listenForJobNotices({ redis: listener, channels, clock });
      return startBatches({ config, core, blobs, queueRedis, notices, watermark, registry, clock, onError });
    },
    inference: async () => {
      const { startInference } = await import('./inference/role.js');
      const { listenForWorkerNotices } = await import('./inference/consumer/worker-notices.js');
      const listener = await open('listen');
      defer('listener', () => listener.disconnect());
      const { stopped, bell } = core.keys;
      const channels = { stopped, bell: bell(randomUUID()) };
      const workerNotices = await listenForWorkerNotices(listener, channels);
      const child = new URL('./inference/child/main.js', import.meta.url);
      inference = await startInference({
        config,
        child,
        core,
        queueRedis,
        workerNotices,
        clock,
        log,
        registry,
        onError,
      });
      return inference;
    },
  };

  for (const role of roleNames) {
    const { close } = (await roles[role]?.()) ?? {};
    if (close) defer(role, close);
  }
  const demandReady = createReadiness({ redis, clock, draining, fault: () => inference?.fault() ?? null });
  await serveMetrics(registry, metricsAddressOf(config, 0), log, demandReady);
  const announcing = startAnnouncing({
    workers: core.workers,
    roles: roleNames,
    computing: () => inference?.describe() ?? { devices: [], models: [] },
    clock,
    onError,
  });
  defer('announcement', announcing.close);
  log.info({ roles: roleNames }, 'worker serves');
});

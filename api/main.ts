/**
 * The API process: takes jobs in and gives results out.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../shared/base/clock.js';
import { ConfigError, list } from '../shared/base/config.js';
import { createErrorLog } from '../shared/base/log.js';
import { createRegistry, serveMetrics } from '../shared/base/metrics.js';
import { run } from '../shared/base/runner.js';
import { openBlobs } from '../shared/blobs/open.js';
import { loadConfig } from '../shared/contract/config.js';
import { createAddressRules } from '../shared/contract/webhooks/address.js';
import { createApiKeys } from '../shared/core/access/api-keys.js';
import { createBatches } from '../shared/core/batches/batches.js';
import { createCore } from '../shared/core/compose.js';
import { jobLimitsOf } from '../shared/core/jobs/job-limits.js';
import { listenForJobNotices } from '../shared/core/jobs/job-notices.js';
import { readBundledVersions } from '../shared/core/models/bundled-versions.js';
import { createModels } from '../shared/core/models/models.js';
import { createVersionRepository } from '../shared/core/models/version-repository.js';
import { createDeliveries } from '../shared/core/webhooks/deliveries.js';
import { createEndpoints } from '../shared/core/webhooks/endpoints.js';
import { createFanOut } from '../shared/core/webhooks/fan-out.js';
import { openBatchQueue, openInferenceQueues } from '../shared/queue/queues.js';
import { checkDurable, openRedis, type Purpose, redisUrl } from '../shared/redis/connect.js';
import { createKeys } from '../shared/redis/keys.js';
import { watchMemory } from '../shared/redis/memory-watermark.js';
import { createApp } from './app.js';
import { createWaits } from './follow/held-requests.js';
import { createFeeds } from './follow/job-feed.js';
import { createStreams } from './follow/sse.js';

const METRICS_PORT = 9090;
const UPLOAD_MS = 3_600_000;
const IDLE_CHECK_MS = 100;

await run('api', loadConfig, async ({ config, log, defer, draining }) => {
  const clock: Clock = systemClock;
  const registry = createRegistry();
  const onError = createErrorLog(log, clock);
  const onRedisError = (error: Error) => onError('redis', error);
  const open = (purpose: Purpose) =>
    openRedis(redisUrl(config), purpose, onRedisError, (why) => log.warn(why));

  const redis = await open('request');
  defer('redis', () => redis.disconnect());
  for (const fault of await checkDurable(redis, config.SLUICE_ALLOW_UNSAFE_REDIS))
    log.warn({ fault }, 'unsafe redis');
  const listener = await open('listen');
  defer('listener', () => listener.disconnect());

  const keys = createKeys(config.SLUICE_KEY_PREFIX);
  // BullMQ's commands have a connection of their own: ioredis builds every pipeline with all scripts of its connection.
  const queueRedis = await open('request');
  defer('queue redis', () => queueRedis.disconnect());
  const transport = openInferenceQueues(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  const blobs = await openBlobs(config, clock);
  defer('blobs', () => blobs.close());
  const limits = jobLimitsOf(config);
  const core = createCore({ clock, redis, keys, transport, blobs, limits, onError });
  const { jobs, queueStatus, files, results } = core;
  const queue = openBatchQueue(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  const batches = createBatches({ redis, keys, blobs, queue, limits, onError });
  const models = createModels({ redis, keys, clock });
  const repository = createVersionRepository({ blobs, models, clock, config });
  await repository.sweep();
  const apiKeys = createApiKeys({ redis, keys, clock });
  const rules = createAddressRules(list(config.SLUICE_WEBHOOK_ALLOW_PRIVATE));
  const maxPerTenant = config.SLUICE_MAX_ENDPOINTS_PER_TENANT;
  const endpoints = createEndpoints({ redis, keys, clock, rules, maxPerTenant });
  const deliveries = createDeliveries({ redis, keys, clock, maxKept: config.SLUICE_MAX_DELIVERIES_KEPT });
  const fanOut = createFanOut({ redis, keys, endpoints, deliveries, models });
  const notices = await listenForJobNotices({ redis: listener, channels: keys });
  const waits = createWaits({ notices, clock, maxPerTenant: config.SLUICE_MAX_WAITS_PER_TENANT });
  const feeds = createFeeds({ jobs, results, notices, clock, onError });
  const streams = createStreams({ feeds, clock, maxPerTenant: config.SLUICE_MAX_STREAMS_PER_TENANT });

  const watermark = await watchMemory(redis, config.SLUICE_MEMORY_WATERMARK, clock, log);
  defer('watermark', () => watermark.close());

  if (config.SLUICE_BOOTSTRAP_KEY) await apiKeys.addKey(config.SLUICE_BOOTSTRAP_KEY, 'default', ['*']);
  for (const version of await readBundledVersions(config, clock)) await models.register(version);

  const app = createApp({
    config,
    redis,
    keys,
    apiKeys,
    jobs,
    queueStatus,
    files,
    batches,
    results,
    models,
    repository,
    shadows: core.shadows,
    endpoints,
    deliveries,
    fanOut,
    waits,
    feeds,
    streams,
    watermark,
    clock,
    log,
    registry,
    draining,
  });
  // Bounds on how slowly a request may arrive and how large its head may be; a held request has arrived already.
  const server = createServer(
    {
      headersTimeout: 5000,
      // Of an upload; middleware/context.ts bounds all other bodies.
      requestTimeout: UPLOAD_MS,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 8192,
      keepAliveTimeout: 65_000,
    },
    app.callback(),
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(listenError(error, config.HOST, config.PORT)),
    );
    server.listen(config.PORT, config.HOST, resolve);
  });
  defer('server', () => {
    // A connection whose answer was under way becomes idle later.
    const stopLooking = clock.every(IDLE_CHECK_MS, () => server.closeIdleConnections());
    return new Promise((resolve) => server.close(resolve)).finally(stopLooking);
  });
  defer('held requests', () => {
    waits.close();
    streams.close();
    server.closeIdleConnections();
  });
  const port = config.SLUICE_METRICS_PORT ?? METRICS_PORT;
  const metrics = await serveMetrics(registry, { port, setting: 'SLUICE_METRICS_PORT' }, log);
  defer('metrics', () => metrics?.close());
  log.info({ host: config.HOST, port: (server.address() as AddressInfo).port }, 'api serves');
});

function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') return error;
  const why = error.code === 'EACCES' ? 'may not be used' : 'is in use';
  return new ConfigError(`Port ${port} of ${host} ${why}; PORT chooses another.`);
}

/**
 * The API process, which takes jobs in and gives results out.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../shared/base/clock.js';
import { ConfigError } from '../shared/base/config.js';
import { createErrorLog } from '../shared/base/log.js';
import { createRegistry, serveMetrics } from '../shared/base/metrics.js';
import { run } from '../shared/base/runner.js';
import { openBlobs } from '../shared/blobs/open.js';
import { loadConfig, METRICS_PORT, metricsAddressOf } from '../shared/contract/config.js';
import { composeCore } from '../shared/core/compose.js';
import { listenForJobNotices } from '../shared/core/jobs/job-notices.js';
import { createCachedCounter } from '../shared/core/jobs/submission/submitted-counter.js';
import { bundledKeys, readBundledVersions, registerBundled } from '../shared/core/models/bundled-versions.js';
import { openBatchQueue, openInferenceQueues } from '../shared/queue/queues.js';
import { openRedis, type Purpose, redisUrl } from '../shared/redis/connect.js';
import { checkDurable, watchReplicas } from '../shared/redis/durability.js';
import { watchMemory } from '../shared/redis/memory-watermark.js';
import { createReadiness } from '../shared/redis/readiness.js';
import { createApp } from './app.js';
import { createHeldRequests } from './follow/held-requests.js';
import { createJobFeed } from './follow/job-feed.js';
import { createSseStreams } from './follow/sse.js';

const IDLE_CHECK_MS = 100;
/** The period in which the folders of uploads are looked through. */
const SWEEP_MS = 600_000;

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

  // BullMQ's commands have a connection of their own: ioredis builds every pipeline with all scripts of its connection.
  const queueRedis = await open('request');
  defer('queue redis', () => queueRedis.disconnect());
  const transport = openInferenceQueues(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  const blobs = await openBlobs(config, clock);
  defer('blobs', () => blobs.close());
  const batchQueue = openBatchQueue(queueRedis, config.SLUICE_KEY_PREFIX, onRedisError);
  const core = composeCore(config, {
    redis,
    transport,
    batchQueue,
    blobs,
    clock,
    onError,
    onSubmitted: createCachedCounter(registry),
  });
  const channels = { ...core.keys, awaited: core.keys.awaited(randomUUID()) };
  const notices = await listenForJobNotices({ redis: listener, channels, clock });
  const heldRequests = createHeldRequests({
    notices,
    clock,
    maxPerTenant: config.SLUICE_MAX_WAITS_PER_TENANT,
  });
  const jobFeed = createJobFeed({ jobs: core.jobs, results: core.results, notices, clock, onError });
  const sseStreams = createSseStreams({ jobFeed, clock, maxPerTenant: config.SLUICE_MAX_STREAMS_PER_TENANT });

  const watermark = await watchMemory(redis, config.SLUICE_MEMORY_WATERMARK, clock, log);
  defer('watermark', () => watermark.close());

  await core.repository.sweep();
  const stopSweeping = clock.every(SWEEP_MS, () => {
    core.repository.sweep().catch((error: unknown) => onError('uploads', error));
  });
  defer('sweep', stopSweeping);
  if (config.SLUICE_BOOTSTRAP_KEY) await core.apiKeys.addKey(config.SLUICE_BOOTSTRAP_KEY, 'default', ['*']);
  const found = await readBundledVersions(config, clock, log);
  const bundled = await registerBundled(core.models, found, log, await core.workers.servers());

  const demandReady = createReadiness({ redis, clock, draining });
  const app = createApp({
    config,
    core,
    bundled: bundledKeys(bundled, found.faulty),
    follow: { heldRequests, jobFeed, sseStreams },
    store: { watermark, watchReplication: watchReplicas(redis, config.SLUICE_REDIS_WAIT) },
    demandReady,
    clock,
    log,
    registry,
    draining,
  });
  const answer = app.callback();
  // Bounds on how slowly a request may arrive and how large its head may be; a held request has arrived already.
  const server = createServer(
    {
      headersTimeout: 5000,
      // A slow line is no attack, so no body has a total time; http/body-arrival.ts bounds how slowly one may arrive.
      requestTimeout: 0,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 8192,
      keepAliveTimeout: 65_000,
    },
    answer,
  );
  // Node would send `100 Continue` by itself, before anybody has looked at the head.
  server.on('checkContinue', answer);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(listenError(error, config.HOST, config.PORT)),
    );
    server.listen(config.PORT, config.HOST, resolve);
  });
  defer('server', () => {
    // A connection becomes idle once its answer is written, which may be later.
    const stopLooking = clock.every(IDLE_CHECK_MS, () => server.closeIdleConnections());
    return new Promise((resolve) => server.close(resolve)).finally(stopLooking);
  });
  defer('held requests', () => {
    heldRequests.close();
    sseStreams.close();
    server.closeIdleConnections();
  });
  await serveMetrics(registry, metricsAddressOf(config, METRICS_PORT), log, demandReady);
  log.info({ host: config.HOST, port: (server.address() as AddressInfo).port }, 'api serves');
});

function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') return error;
  const why = error.code === 'EACCES' ? 'may not be used' : 'is in use';
  return new ConfigError(`Port ${port} of ${host} ${why}; PORT chooses another.`);
}

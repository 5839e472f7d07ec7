/**
 * The application: middleware and routes, put together from what is handed in. Opens nothing, listens nowhere.
 */
import type { RouterInstance } from '@koa/router';
import Koa from 'koa';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Clock } from '../shared/base/clock.js';
import type { Logger } from '../shared/base/log.js';
import type { Config } from '../shared/contract/config.js';
import type { ApiKeys } from '../shared/core/access/api-keys.js';
import type { Batches } from '../shared/core/batches/batches.js';
import type { Files } from '../shared/core/files/files.js';
import type { JobResults } from '../shared/core/jobs/job-results.js';
import type { Jobs } from '../shared/core/jobs/jobs.js';
import { createSubmission } from '../shared/core/jobs/submission.js';
import { createSubmittedCounter } from '../shared/core/jobs/submitted-counter.js';
import type { Models } from '../shared/core/models/models.js';
import type { Shadows } from '../shared/core/models/shadows.js';
import type { VersionRepository } from '../shared/core/models/version-repository.js';
import type { QueueStatus } from '../shared/core/queues/queue-status.js';
import type { Deliveries } from '../shared/core/webhooks/deliveries.js';
import { createDeliveryLog } from '../shared/core/webhooks/delivery-log.js';
import type { Endpoints } from '../shared/core/webhooks/endpoints.js';
import type { FanOut } from '../shared/core/webhooks/fan-out.js';
import { createWorkers } from '../shared/core/workers/workers.js';
import type { Redis } from '../shared/redis/connect.js';
import type { Keys } from '../shared/redis/keys.js';
import type { Watermark } from '../shared/redis/memory-watermark.js';
import { createReadiness } from '../shared/redis/readiness.js';
import { createAudit } from './auth/audit.js';
import { createAuth } from './auth/bearer.js';
import type { Waits } from './follow/held-requests.js';
import type { Feeds } from './follow/job-feed.js';
import type { Streams } from './follow/sse.js';
import { errors } from './http/problem.js';
import { createQueryCheck } from './http/query.js';
import { context } from './http/request-context.js';
import { openApiDocument } from './openapi/document.js';
import { batchRoutes } from './routes/batches.js';
import { bulkRoutes } from './routes/bulk.js';
import { deliveryRoutes } from './routes/deliveries.js';
import { docRoutes } from './routes/docs.js';
import { eventRoutes } from './routes/events.js';
import { fileRoutes } from './routes/files.js';
import { healthRoutes } from './routes/health.js';
import { jobRoutes } from './routes/jobs.js';
import { modelRoutes } from './routes/models.js';
import { queueRoutes } from './routes/queues.js';
import { webhookRoutes } from './routes/webhooks.js';
import { workerRoutes } from './routes/workers.js';

export interface AppDeps {
  config: Config;
  redis: Redis;
  keys: Keys;
  apiKeys: ApiKeys;
  jobs: Jobs;
  queueStatus: QueueStatus;
  files: Files;
  batches: Batches;
  results: JobResults;
  models: Models;
  repository: VersionRepository;
  shadows: Shadows;
  endpoints: Endpoints;
  deliveries: Deliveries;
  fanOut: FanOut;
  waits: Waits;
  feeds: Feeds;
  streams: Streams;
  watermark: Watermark;
  clock: Clock;
  log: Logger;
  registry: Registry;
  draining: AbortSignal;
}

export function createApp(deps: AppDeps): Koa {
  const {
    config,
    redis,
    jobs,
    queueStatus,
    files,
    results,
    models,
    endpoints,
    waits,
    feeds,
    streams,
    watermark,
  } = deps;
  const { deliveries, clock, log, registry, draining } = deps;
  const registers = [registry];
  const document = openApiDocument({ maxInstances: config.SLUICE_MAX_INSTANCES });
  const auth = createAuth(deps.apiKeys, createQueryCheck(document.paths));
  const audit = createAudit(log);
  const cached = new Counter({
    name: 'sluice_jobs_cached_total',
    help: 'Jobs ended when they were submitted, by the predictions of an equal one.',
    labelNames: ['model'],
    registers,
  });
  new Gauge({
    name: 'sluice_held_requests',
    help: 'Requests held for the end of a job.',
    registers,
    collect() {
      this.set(waits.held);
    },
  });
  new Gauge({
    name: 'sluice_event_streams',
    help: 'Open event streams.',
    registers,
    collect() {
      this.set(streams.count);
    },
  });

  const workers = createWorkers({ redis, keys: deps.keys, clock });
  const submission = createSubmission({
    jobs,
    models,
    files,
    clock,
    maxInstances: config.SLUICE_MAX_INSTANCES,
    maxFileBytes: config.SLUICE_MAX_BODY_BYTES,
    checkWebhookUrl: (url) => endpoints.checkUrl(url, '/webhook/url'),
    onSubmitted: createSubmittedCounter(registry),
    onCached: (model) => cached.inc({ model }),
  });
  const deliveryLog = createDeliveryLog({ redis, keys: deps.keys, deliveries });
  const bodyLimits = { maxBytes: config.SLUICE_MAX_BODY_BYTES, maxDepth: config.SLUICE_MAX_DEPTH };
  const maxWaitSeconds = config.SLUICE_MAX_WAIT_SECONDS;
  const routers = [
    jobRoutes({
      jobs,
      submission,
      queueStatus,
      results,
      waits,
      watermark,
      auth,
      audit,
      clock,
      bodyLimits,
      maxWaitSeconds,
    }),
    eventRoutes({ feeds, streams, auth }),
    bulkRoutes({ submission, queueStatus, watermark, auth, bodyLimits, log }),
    batchRoutes({ batches: deps.batches, files, submission, watermark, auth, clock, bodyLimits }),
    fileRoutes({ files, auth, audit, clock, maxBytes: config.SLUICE_MAX_FILE_BYTES }),
    queueRoutes({ queueStatus, models, auth, audit }),
    modelRoutes({
      models,
      repository: deps.repository,
      shadows: deps.shadows,
      workers,
      auth,
      audit,
      clock,
      bodyLimits,
      maxBytes: config.SLUICE_MAX_FILE_BYTES,
    }),
    webhookRoutes({
      endpoints,
      deliveries,
      log: deliveryLog,
      fanOut: deps.fanOut,
      auth,
      audit,
      clock,
      bodyLimits,
    }),
    deliveryRoutes({ endpoints, deliveries, log: deliveryLog, auth, audit, bodyLimits }),
    workerRoutes({ workers, auth }),
    healthRoutes(createReadiness({ redis, clock, draining })),
    docRoutes(document),
  ];

  const app = new Koa();
  app.on('error', (error) => log.error({ err: error }, 'koa'));
  app.use(context({ clock, registry }));
  app.use(partWhileDraining(draining));
  app.use(errors(log));
  for (const router of routers) app.use(router.routes());
  app.use(methodNotAllowed(routers));
  return app;
}

/** A caller that keeps its connection busy would keep the process from ending. */
function partWhileDraining(draining: AbortSignal): Koa.Middleware {
  return async function part(ctx, next) {
    await next();
    if (draining.aborted) ctx.set('Connection', 'close');
  };
}

/** 405 with `Allow` where the path exists for other methods. */
function methodNotAllowed(routers: readonly RouterInstance[]): Koa.Middleware {
  return async function allowed(ctx, next) {
    const methods = new Set(
      routers.flatMap((router) => router.match(ctx.path, ctx.method).path.flatMap((layer) => layer.methods)),
    );
    if (methods.size === 0 || methods.has(ctx.method)) return next();
    ctx.set('Allow', [...methods].join(', '));
    ctx.throw(405);
  };
}

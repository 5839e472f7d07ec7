/**
 * The application: its middleware and routes, put together from the parts handed in. It opens nothing and does not listen.
 */
import type { RouterInstance } from '@koa/router';
import Koa from 'koa';
import { Gauge, type Registry } from 'prom-client';
import type { Clock } from '../shared/base/clock.js';
import { list } from '../shared/base/config.js';
import type { Logger } from '../shared/base/log.js';
import type { Config } from '../shared/contract/config.js';
import type { Core } from '../shared/core/compose.js';
import type { WatchReplication } from '../shared/redis/durability.js';
import type { Watermark } from '../shared/redis/memory-watermark.js';
import { createAudit } from './auth/audit.js';
import { createBearerAuth } from './auth/bearer.js';
import type { HeldRequests } from './follow/held-requests.js';
import { createJobAnswers } from './follow/job-answers.js';
import type { JobFeed } from './follow/job-feed.js';
import type { SseStreams } from './follow/sse.js';
import { crossOrigin } from './http/cross-origin.js';
import { problems } from './http/problem.js';
import { createQueryCheck } from './http/query.js';
import { requestContext } from './http/request-context.js';
import { openApiDocument } from './openapi/document.js';
import { batchRoutes } from './routes/batches.js';
import { bulkRoutes } from './routes/bulk.js';
import { deliveryRoutes } from './routes/deliveries.js';
import { docRoutes } from './routes/docs.js';
import { eventRoutes } from './routes/events.js';
import { fileRoutes } from './routes/files.js';
import { healthRoutes } from './routes/health.js';
import { jobRetryRoutes } from './routes/job-retries.js';
import { jobRoutes } from './routes/jobs.js';
import { modelRemovalRoutes } from './routes/model-removal.js';
import { modelRoutes } from './routes/models.js';
import { queueRoutes } from './routes/queues.js';
import { startRoutes } from './routes/start.js';
import { webhookRoutes } from './routes/webhooks.js';
import { workerRoutes } from './routes/workers.js';

export interface AppDeps {
  config: Config;
  core: Core;
  /** The versions in the folder of bundled models, as `versionKey` names them. */
  bundled: ReadonlySet<string>;
  /** The parts that wait for a job to end or to change, on behalf of callers. */
  follow: { heldRequests: HeldRequests; jobFeed: JobFeed; sseStreams: SseStreams };
  /** The state of Redis: whether it has room, and whether its replicas follow. */
  store: { watermark: Watermark; watchReplication: WatchReplication };
  /** Rejects with the reason while this process should get no requests. */
  demandReady: () => Promise<void>;
  clock: Clock;
  log: Logger;
  registry: Registry;
  draining: AbortSignal;
}

/** Methods that change nothing. */
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Returns the application, ready to be served. */
export function createApp(deps: AppDeps): Koa {
  const { config, core, clock, log, registry, draining } = deps;
  const { watermark, watchReplication } = deps.store;
  const { files, batches, models, queueStatus, autoscale, workers, endpoints, deliveries } = core;
  const { heldRequests, jobFeed, sseStreams } = deps.follow;
  const registers = [registry];
  const document = openApiDocument({ maxInstances: config.SLUICE_MAX_INSTANCES });
  const auth = createBearerAuth(core.apiKeys, createQueryCheck(document.paths));
  const audit = createAudit(log);
  new Gauge({
    name: 'sluice_held_requests',
    help: 'Requests held for the end of a job.',
    registers,
    collect() {
      this.set(heldRequests.count);
    },
  });
  new Gauge({
    name: 'sluice_event_streams',
    help: 'Open event streams.',
    registers,
    collect() {
      this.set(sseStreams.count);
    },
  });

  const bodyLimits = { maxBytes: config.SLUICE_MAX_BODY_BYTES, maxDepth: config.SLUICE_MAX_DEPTH };
  const maxWaitSeconds = config.SLUICE_MAX_WAIT_SECONDS;
  const answers = createJobAnswers(core);
  const routers = [
    jobRoutes({ core, heldRequests, answers, watermark, auth, audit, bodyLimits, maxWaitSeconds }),
    eventRoutes({ core, jobFeed, sseStreams, auth, bodyLimits }),
    bulkRoutes({ core, heldRequests, answers, watermark, auth, bodyLimits, maxWaitSeconds, log }),
    jobRetryRoutes({ core, watermark, auth, audit }),
    batchRoutes({ batches, files, submission: core.submission, watermark, auth, clock, bodyLimits }),
    fileRoutes({ files, auth, audit, maxBytes: config.SLUICE_MAX_FILE_BYTES }),
    queueRoutes({ queueStatus, models, auth, audit }),
    modelRoutes({
      models,
      repository: core.repository,
      shadows: core.shadows,
      workers,
      auth,
      audit,
      bodyLimits,
      maxBytes: config.SLUICE_MAX_FILE_BYTES,
    }),
    modelRemovalRoutes({
      models,
      versionPurge: core.versionPurge,
      shadows: core.shadows,
      workers,
      auth,
      audit,
      bundled: deps.bundled,
      retentionMs: config.SLUICE_VERSION_RETENTION_SECONDS * 1000,
      onError: (kind, error) => log.error({ err: error }, kind),
    }),
    webhookRoutes({
      endpoints,
      deliveries,
      log: core.deliveryLog,
      fanOut: core.fanOut,
      auth,
      audit,
      clock,
      bodyLimits,
    }),
    deliveryRoutes({ endpoints, deliveries, log: core.deliveryLog, auth, audit, bodyLimits }),
    workerRoutes({ workers, autoscale, models, auth }),
    healthRoutes(deps.demandReady),
    docRoutes(document),
    startRoutes(document),
  ];

  const app = new Koa();
  app.on('error', (error) => log.error({ err: error }, 'koa'));
  app.use(requestContext({ clock, registry }));
  app.use(partWhileDraining(draining));
  const origins = list(config.SLUICE_CORS_ORIGINS);
  if (origins.length > 0) app.use(crossOrigin(origins));
  app.use(problems(log));
  app.use(replicated(watchReplication));
  for (const router of routers) app.use(router.routes());
  app.use(methodNotAllowed(routers));
  return app;
}

/** Answers a call that changed something once replicas have it, where that is configured. */
function replicated(watchReplication: WatchReplication): Koa.Middleware {
  return async function replicate(ctx, next) {
    if (READS.has(ctx.method)) return next();
    const replication = watchReplication();
    await next();
    if (ctx.status < 400) await replication();
  };
}

/** Closes each connection after its answer once the process drains, because a busy connection would keep it from ending. */
function partWhileDraining(draining: AbortSignal): Koa.Middleware {
  return async function part(ctx, next) {
    await next();
    if (draining.aborted) ctx.set('Connection', 'close');
  };
}

/** Answers 405 with `Allow` where the path exists for other methods (RFC 9110, section 15.5.6). */
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

/**
 * Routes of workers, for operators: who computes, what and on which device.
 */
import Router from '@koa/router';
import type { Workers } from '../../shared/core/workers/workers.js';
import type { createAuth } from '../auth/bearer.js';
import { page } from '../http/page.js';

export function workerRoutes({
  workers,
  auth,
}: {
  workers: Workers;
  auth: ReturnType<typeof createAuth>;
}): Router {
  return new Router().get('/v1/workers', auth('admin'), async (ctx) => {
    ctx.body = page(await workers.list());
  });
}

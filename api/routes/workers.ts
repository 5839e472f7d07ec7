/**
 * The route of workers, for operators: which processes compute, which versions, and on which devices.
 */
import type Router from '@koa/router';
import type { Workers } from '../../shared/core/workers/workers.js';
import type { BearerAuth } from '../auth/bearer.js';
import { json, type Operations, ref, routesOf } from '../http/operations.js';
import { page, pageSchema, WHOLE_QUERY } from '../http/page.js';

export const workerOperations = {
  'get /v1/workers': {
    operationId: 'listWorkers',
    summary: 'Who computes, what and on which device',
    scope: 'admin',
    parameters: WHOLE_QUERY,
    responses: { 200: json('All workers heard of in the last ten seconds.', pageSchema(ref('Worker'))) },
  },
} as const satisfies Operations;

/** Returns the route. */
export function workerRoutes({ workers, auth }: { workers: Workers; auth: BearerAuth }): Router {
  return routesOf(workerOperations, auth, {
    'get /v1/workers': async (ctx) => {
      ctx.body = page(await workers.list());
    },
  });
}

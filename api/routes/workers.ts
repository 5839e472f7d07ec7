/**
 * Routes of workers, for operators and for what scales workers: which processes compute, which versions, on which devices, and how many of
 * them each model needs.
 */
import type Router from '@koa/router';
import { SluiceError } from '../../shared/contract/errors.js';
import type { Models } from '../../shared/core/models/models.js';
import type { Autoscale } from '../../shared/core/scaling/autoscale.js';
import type { Workers } from '../../shared/core/workers/workers.js';
import type { BearerAuth } from '../auth/bearer.js';
import { ID, json, type Operations, ref, routesOf } from '../http/operations.js';
import { page, pageSchema, WHOLE_QUERY } from '../http/page.js';

export interface WorkerRoutesDeps {
  workers: Workers;
  autoscale: Autoscale;
  models: Pick<Models, 'find'>;
  auth: BearerAuth;
}

export const workerOperations = {
  'get /v1/workers': {
    operationId: 'listWorkers',
    summary: 'Who computes, what and on which device',
    scope: 'admin',
    parameters: WHOLE_QUERY,
    responses: { 200: json('All workers heard of in the last ten seconds.', pageSchema(ref('Worker'))) },
  },
  'get /v1/autoscale': {
    operationId: 'listAutoscale',
    summary: 'How many workers each model needs',
    scope: 'admin',
    parameters: WHOLE_QUERY,
    responses: { 200: json('All models.', pageSchema(ref('Autoscale'))) },
  },
  'get /v1/autoscale/{model}': {
    operationId: 'getAutoscale',
    summary: 'How many workers a model needs',
    scope: 'admin',
    parameters: [{ ...ID, name: 'model' }],
    responses: { 200: json('The model; one without jobs, too, which needs none.', ref('Autoscale')) },
  },
} as const satisfies Operations;

/** Returns the routes. A model that does not exist is refused with `model_not_found`. */
export function workerRoutes({ workers, autoscale, models, auth }: WorkerRoutesDeps): Router {
  return routesOf(workerOperations, auth, {
    'get /v1/workers': async (ctx) => {
      ctx.body = page(await workers.list());
    },
    'get /v1/autoscale': async (ctx) => {
      ctx.body = page(await autoscale.list());
    },
    'get /v1/autoscale/{model}': async (ctx) => {
      const model = await models.find(ctx.params.model);
      if (!model) throw new SluiceError('model_not_found', `There is no model "${ctx.params.model}".`);
      [ctx.body] = await autoscale.viewsOf([model]);
    },
  });
}

/**
 * Routes of queues, for operators: look at the jobs that wait, hold a model's jobs back, let them go on.
 */
import type Router from '@koa/router';
import { toTimestamp } from '../../shared/base/clock.js';
import { SluiceError } from '../../shared/contract/errors.js';
import type { QueueView } from '../../shared/contract/queue-view.js';
import type { Model } from '../../shared/core/models/model-record.js';
import type { Models } from '../../shared/core/models/models.js';
import type { QueueState, QueueStatus } from '../../shared/core/queues/queue-status.js';
import type { Audit } from '../auth/audit.js';
import type { BearerAuth } from '../auth/bearer.js';
import { ID, json, type Operations, ref, routesOf } from '../http/operations.js';
import { page, pageSchema, WHOLE_QUERY } from '../http/page.js';

export interface QueueRoutesDeps {
  queueStatus: QueueStatus;
  models: Models;
  auth: BearerAuth;
  audit: Audit;
}

const QUEUE = json('The queue.', ref('Queue'));

export const queueOperations = {
  'get /v1/queues': {
    operationId: 'listQueues',
    summary: 'What waits, by model',
    scope: 'admin',
    parameters: WHOLE_QUERY,
    responses: { 200: json('All queues.', pageSchema(ref('Queue'))) },
  },
  'post /v1/queues/{model}/pause': {
    operationId: 'pauseQueue',
    summary: 'Start no more jobs of a model',
    scope: 'admin',
    parameters: [{ ...ID, name: 'model' }],
    responses: { 200: QUEUE },
  },
  'post /v1/queues/{model}/resume': {
    operationId: 'resumeQueue',
    summary: 'Start jobs of a model again',
    scope: 'admin',
    parameters: [{ ...ID, name: 'model' }],
    responses: { 200: QUEUE },
  },
} as const satisfies Operations;

/** Returns the routes of queues. Each refuses a model that does not exist with `model_not_found`. */
export function queueRoutes({ queueStatus, models, auth, audit }: QueueRoutesDeps): Router {
  const stateOf = (model: Model) => queueStatus.stateOf(model.name, versionsOf(model));

  async function find(name: string): Promise<Model> {
    const model = await models.find(name);
    if (!model) throw new SluiceError('model_not_found', `There is no model "${name}".`);
    return model;
  }

  return routesOf(queueOperations, auth, {
    'get /v1/queues': async (ctx) => {
      const states = await Promise.all((await models.list()).map(stateOf));
      ctx.body = page(states.map(presentQueue));
    },
    'post /v1/queues/{model}/pause': async (ctx) => {
      const model = await find(ctx.params.model);
      await queueStatus.pause(model.name);
      audit(ctx, 'queue.pause', { model: model.name });
      ctx.body = presentQueue(await stateOf(model));
    },
    'post /v1/queues/{model}/resume': async (ctx) => {
      const model = await find(ctx.params.model);
      await queueStatus.resume(model.name, versionsOf(model));
      audit(ctx, 'queue.resume', { model: model.name });
      ctx.body = presentQueue(await stateOf(model));
    },
  });
}

function versionsOf({ versions }: Model): number[] {
  return versions.map(({ manifest }) => manifest.version);
}

function presentQueue({ pausedAt, ...state }: QueueState): QueueView {
  return {
    ...state,
    pausedAt: pausedAt === null ? null : toTimestamp(pausedAt),
    queued: state.versions.reduce((sum, { queued }) => sum + queued, 0),
  };
}

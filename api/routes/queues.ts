/**
 * Routes of queues, for operators: what waits, and holding it back.
 */
import Router from '@koa/router';
import type { Context } from 'koa';
import { toTimestamp } from '../../shared/base/clock.js';
import { SluiceError } from '../../shared/contract/errors.js';
import type { QueueView } from '../../shared/contract/queue-view.js';
import type { Model } from '../../shared/core/models/model-record.js';
import type { Models } from '../../shared/core/models/models.js';
import type { QueueState, QueueStatus } from '../../shared/core/queues/queue-status.js';
import type { Audit } from '../auth/audit.js';
import type { createAuth } from '../auth/bearer.js';
import { page } from '../http/page.js';

export interface QueueRoutesDeps {
  queueStatus: QueueStatus;
  models: Models;
  auth: ReturnType<typeof createAuth>;
  audit: Audit;
}

export function queueRoutes({ queueStatus, models, auth, audit }: QueueRoutesDeps): Router {
  const stateOf = (model: Model) => queueStatus.stateOf(model.name, versionsOf(model));

  async function find(ctx: Context & { params: { model?: string } }): Promise<Model> {
    const model = await models.find(ctx.params.model ?? '');
    if (!model) throw new SluiceError('model_not_found', `There is no model "${ctx.params.model}".`);
    return model;
  }

  return new Router()
    .get('/v1/queues', auth('admin'), async (ctx) => {
      const states = await Promise.all((await models.list()).map(stateOf));
      ctx.body = page(states.map(presentQueue));
    })
    .post('/v1/queues/:model/pause', auth('admin'), async (ctx) => {
      const model = await find(ctx);
      await queueStatus.pause(model.name);
      audit(ctx, 'queue.pause', { model: model.name });
      ctx.body = presentQueue(await stateOf(model));
    })
    .post('/v1/queues/:model/resume', auth('admin'), async (ctx) => {
      const model = await find(ctx);
      await queueStatus.resume(model.name, versionsOf(model));
      audit(ctx, 'queue.resume', { model: model.name });
      ctx.body = presentQueue(await stateOf(model));
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

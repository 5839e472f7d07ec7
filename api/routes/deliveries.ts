/**
 * Routes of deliveries: what endpoints and the webhooks of single jobs were told, attempt by attempt, and telling it again.
 */
import Router from '@koa/router';
import type { Context } from 'koa';
import { compileThoroughGuard } from '../../shared/contract/schema.js';
import {
  presentDelivery,
  presentWholeDelivery,
  type ReplayRequest,
  replaySchema,
} from '../../shared/contract/webhooks/delivery.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import type { DeliveryLog } from '../../shared/core/webhooks/delivery-log.js';
import type { Endpoints } from '../../shared/core/webhooks/endpoints.js';
import type { Audit } from '../auth/audit.js';
import { type createAuth, principalOf } from '../auth/bearer.js';
import { type BodyLimits, readSmallJson } from '../http/json-body.js';
import { page } from '../http/page.js';
import { parseDeliveryFilter, parseReplay } from '../http/parameters.js';

export interface DeliveryRoutesDeps {
  endpoints: Pick<Endpoints, 'demand'>;
  deliveries: Pick<Deliveries, 'demand' | 'attemptsOf' | 'replay'>;
  log: DeliveryLog;
  auth: ReturnType<typeof createAuth>;
  audit: Audit;
  bodyLimits: BodyLimits;
}

type IdContext = Context & { params: { id: string } };

const guardReplay = compileThoroughGuard(replaySchema);

export function deliveryRoutes({
  endpoints,
  deliveries,
  log,
  auth,
  audit,
  bodyLimits,
}: DeliveryRoutesDeps): Router {
  async function list(ctx: Context, endpoint: string | null): Promise<void> {
    const filter = parseDeliveryFilter(ctx);
    const { records, nextCursor } = await log.list(principalOf(ctx).tenant, endpoint, filter);
    ctx.body = page(records.map(presentDelivery), nextCursor);
  }

  async function listOfEndpoint(ctx: IdContext): Promise<void> {
    const { id } = await endpoints.demand(principalOf(ctx).tenant, ctx.params.id);
    await list(ctx, id);
  }

  async function show(ctx: IdContext): Promise<void> {
    const delivery = await deliveries.demand(principalOf(ctx).tenant, ctx.params.id);
    ctx.body = presentWholeDelivery(delivery, await deliveries.attemptsOf(delivery.id));
  }

  async function replay(ctx: IdContext): Promise<void> {
    const { tenant } = principalOf(ctx);
    const { id } = await deliveries.demand(tenant, ctx.params.id);
    await deliveries.replay(id);
    audit(ctx, 'delivery.replay', { delivery: id });
    ctx.status = 202;
    ctx.body = presentDelivery(await deliveries.demand(tenant, id));
  }

  async function replayAllOfEndpoint(ctx: IdContext): Promise<void> {
    const { tenant } = principalOf(ctx);
    const { id } = await endpoints.demand(tenant, ctx.params.id);
    await replayAll(ctx, id, 'webhook-endpoint.replay', { endpoint: id });
  }

  async function replayAll(
    ctx: Context,
    endpoint: string | null,
    action: string,
    detail: object,
  ): Promise<void> {
    const body: ReplayRequest = guardReplay((await readSmallJson(ctx, bodyLimits)).value);
    const outcome = await log.replayAll(principalOf(ctx).tenant, endpoint, parseReplay(body));
    audit(ctx, action, { ...detail, replayed: outcome.replayed });
    ctx.status = 202;
    ctx.body = outcome;
  }

  return new Router()
    .get('/v1/webhook-endpoints/:id/deliveries', auth('webhooks:read'), listOfEndpoint)
    .post('/v1/webhook-endpoints/:id/replay', auth('webhooks:write'), replayAllOfEndpoint)
    .get('/v1/deliveries', auth('webhooks:read'), (ctx) => list(ctx, null))
    .post('/v1/deliveries/replay', auth('webhooks:write'), (ctx) =>
      replayAll(ctx, null, 'delivery.replay', {}),
    )
    .get('/v1/deliveries/:id', auth('webhooks:read'), show)
    .post('/v1/deliveries/:id/replay', auth('webhooks:write'), replay);
}

/**
 * Routes of deliveries: look at what endpoints and the webhooks of single jobs were told, attempt by attempt; replay it.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { compileThoroughGuard, NULLABLE_TEXT } from '../../shared/contract/schema.js';
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
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import { type BodyLimits, readSmallJson } from '../http/json-body.js';
import { ID, json, jsonBody, type Operations, ref, routesOf } from '../http/operations.js';
import { page, pageSchema } from '../http/page.js';
import { DELIVERY_QUERY, parseDeliveryFilter, parseReplay } from '../http/parameters.js';

export interface DeliveryRoutesDeps {
  endpoints: Pick<Endpoints, 'demand'>;
  deliveries: Pick<Deliveries, 'demand' | 'attemptsOf' | 'replay'>;
  log: DeliveryLog;
  auth: BearerAuth;
  audit: Audit;
  bodyLimits: BodyLimits;
}

type IdContext = Context & { params: { id: string } };

const guardReplay = compileThoroughGuard(replaySchema);

const DELIVERY = json('The delivery.', ref('Delivery'));
const DELIVERIES = json('A page.', pageSchema(ref('Delivery')));
const REPLAYED = json('How many.', {
  type: 'object',
  additionalProperties: false,
  required: ['replayed', 'nextCursor'],
  properties: { replayed: { type: 'integer' }, nextCursor: NULLABLE_TEXT },
});

export const deliveryOperations = {
  'get /v1/webhook-endpoints/{id}/deliveries': {
    operationId: 'listEndpointDeliveries',
    summary: 'What an endpoint was told in the last 30 days, newest first',
    scope: 'webhooks:read',
    parameters: [ID, ...DELIVERY_QUERY],
    responses: { 200: DELIVERIES },
  },
  'post /v1/webhook-endpoints/{id}/replay': {
    operationId: 'replayEndpointDeliveries',
    summary: 'Tell an endpoint again what failed since a time',
    scope: 'webhooks:write',
    description: 'At most 1,000 in one call, the newest first; `nextCursor` goes on.',
    parameters: [ID],
    requestBody: jsonBody('Replay'),
    responses: { 202: REPLAYED },
  },
  'get /v1/deliveries': {
    operationId: 'listJobDeliveries',
    summary: 'What webhooks of single jobs were told, newest first',
    scope: 'webhooks:read',
    parameters: DELIVERY_QUERY,
    responses: { 200: DELIVERIES },
  },
  'post /v1/deliveries/replay': {
    operationId: 'replayJobDeliveries',
    summary: 'Tell webhooks of single jobs again what failed since a time',
    scope: 'webhooks:write',
    description: 'At most 1,000 in one call, the newest first; `nextCursor` goes on.',
    requestBody: jsonBody('Replay'),
    responses: { 202: REPLAYED },
  },
  'get /v1/deliveries/{id}': {
    operationId: 'getDelivery',
    summary: 'Look at a delivery, with its attempts',
    scope: 'webhooks:read',
    parameters: [ID],
    responses: { 200: json('The delivery.', ref('WholeDelivery')) },
  },
  'post /v1/deliveries/{id}/replay': {
    operationId: 'replayDelivery',
    summary: 'One more attempt, at once, under the same `webhook-id`',
    scope: 'webhooks:write',
    parameters: [ID],
    responses: { 202: DELIVERY },
  },
} as const satisfies Operations;

/** Returns the routes of deliveries. `log` lists and replays many deliveries, `deliveries` one. */
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

  return routesOf(deliveryOperations, auth, {
    'get /v1/webhook-endpoints/{id}/deliveries': listOfEndpoint,
    'post /v1/webhook-endpoints/{id}/replay': replayAllOfEndpoint,
    'get /v1/deliveries': (ctx) => list(ctx, null),
    'post /v1/deliveries/replay': (ctx) => replayAll(ctx, null, 'delivery.replay', {}),
    'get /v1/deliveries/{id}': show,
    'post /v1/deliveries/{id}/replay': replay,
  });
}

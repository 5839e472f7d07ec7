/**
 * Routes of webhooks: the endpoints of a tenant, and the secret that signs the webhooks of its single jobs.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import type { Clock } from '../../shared/base/clock.js';
import { newId } from '../../shared/contract/ids.js';
import { compileThoroughGuard } from '../../shared/contract/schema.js';
import { presentDelivery } from '../../shared/contract/webhooks/delivery.js';
import {
  createEndpointSchema,
  type Endpoint,
  patchEndpointSchema,
  presentEndpoint,
} from '../../shared/contract/webhooks/endpoint.js';
import { secretsAt } from '../../shared/contract/webhooks/signing.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import type { DeliveryLog } from '../../shared/core/webhooks/delivery-log.js';
import type { Endpoints } from '../../shared/core/webhooks/endpoints.js';
import type { FanOut } from '../../shared/core/webhooks/fan-out.js';
import type { Audit } from '../auth/audit.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import { answerMade, idempotencyOf } from '../http/idempotency.js';
import { type BodyLimits, readSmallJson } from '../http/json-body.js';
import {
  ID,
  IDEMPOTENCY_KEY,
  json,
  jsonBody,
  NO_CONTENT,
  type Operations,
  ref,
  routesOf,
} from '../http/operations.js';
import { page, pageSchema, WHOLE_QUERY } from '../http/page.js';

export interface WebhookRoutesDeps {
  endpoints: Endpoints;
  deliveries: Pick<Deliveries, 'demand'>;
  log: Pick<DeliveryLog, 'forget'>;
  fanOut: FanOut;
  auth: BearerAuth;
  audit: Audit;
  clock: Clock;
  bodyLimits: BodyLimits;
}

type EndpointContext = Context & { params: { id: string } };

const guardCreate = compileThoroughGuard(createEndpointSchema);
const guardPatch = compileThoroughGuard(patchEndpointSchema);

const ENDPOINT = json('The endpoint.', ref('WebhookEndpoint'));
const NEW_ENDPOINT = json('The endpoint, with its secret.', ref('NewWebhookEndpoint'));
const DELIVERY = json('The delivery.', ref('Delivery'));
const SECRET = json('The secret.', {
  type: 'object',
  required: ['secret'],
  properties: { secret: { type: 'string' } },
});

export const webhookOperations = {
  'post /v1/webhook-endpoints': {
    operationId: 'createWebhookEndpoint',
    summary: 'Be told of events',
    scope: 'webhooks:write',
    parameters: [IDEMPOTENCY_KEY],
    requestBody: jsonBody('CreateWebhookEndpoint'),
    responses: { 201: NEW_ENDPOINT },
  },
  'get /v1/webhook-endpoints': {
    operationId: 'listWebhookEndpoints',
    summary: "The tenant's endpoints, newest first",
    scope: 'webhooks:read',
    parameters: WHOLE_QUERY,
    responses: { 200: json('All.', pageSchema(ref('WebhookEndpoint'))) },
  },
  'get /v1/webhook-endpoints/{id}': {
    operationId: 'getWebhookEndpoint',
    summary: 'Look at an endpoint',
    scope: 'webhooks:read',
    parameters: [ID],
    responses: { 200: ENDPOINT },
  },
  'patch /v1/webhook-endpoints/{id}': {
    operationId: 'changeWebhookEndpoint',
    summary: 'Change an endpoint; pause it, or enable it again',
    scope: 'webhooks:write',
    parameters: [ID],
    requestBody: jsonBody('PatchWebhookEndpoint'),
    responses: { 200: ENDPOINT },
  },
  'delete /v1/webhook-endpoints/{id}': {
    operationId: 'deleteWebhookEndpoint',
    summary: 'Delete an endpoint, with its log and what it was not told',
    scope: 'webhooks:write',
    parameters: [ID],
    responses: { 204: NO_CONTENT },
  },
  'post /v1/webhook-endpoints/{id}/rotate-secret': {
    operationId: 'rotateWebhookEndpointSecret',
    summary: 'A new secret; the old one signs beside it for 24 h',
    scope: 'webhooks:write',
    parameters: [ID],
    responses: { 200: NEW_ENDPOINT },
  },
  'post /v1/webhook-endpoints/{id}/test': {
    operationId: 'testWebhookEndpoint',
    summary: 'Post an `endpoint.test` to an endpoint, once, enabled or not',
    scope: 'webhooks:write',
    parameters: [ID],
    responses: { 202: DELIVERY },
  },
  'get /v1/webhook-secret': {
    operationId: 'getWebhookSecret',
    summary: 'The secret that signs webhooks of single jobs',
    scope: 'webhooks:write',
    responses: { 200: SECRET },
  },
  'post /v1/webhook-secret/rotate': {
    operationId: 'rotateWebhookSecret',
    summary: 'A new secret; the old one signs beside it for 24 h',
    scope: 'webhooks:write',
    responses: { 200: SECRET },
  },
} as const satisfies Operations;

/**
 * Returns the routes of webhooks. Each refuses an endpoint that does not exist, or belongs to another tenant, with `not_found`.
 *
 * @param deps `log` forgets the deliveries of an endpoint that is deleted; `fanOut` sends the test event
 */
export function webhookRoutes(deps: WebhookRoutesDeps): Router {
  const { endpoints, deliveries, log, fanOut, auth, audit, clock, bodyLimits } = deps;
  const find = (ctx: EndpointContext) => endpoints.demand(principalOf(ctx).tenant, ctx.params.id);

  /** Shows the present secret, too, for the answers to the calls that have just made it. */
  const presentWithSecret = (endpoint: Endpoint) => ({
    ...presentEndpoint(endpoint),
    secret: secretsAt(endpoint.secrets, clock.now())[0],
  });

  async function create(ctx: Context): Promise<void> {
    const body = await readSmallJson(ctx, bodyLimits);
    const idempotency = idempotencyOf(ctx, 'webhook-endpoints', body.fingerprint);
    const { tenant } = principalOf(ctx);
    const { endpoint, replayed } = await endpoints.create(tenant, guardCreate(body.value), idempotency);
    if (!replayed) audit(ctx, 'webhook-endpoint.create', { endpoint: endpoint.id });
    answerMade(ctx, 201, `/v1/webhook-endpoints/${endpoint.id}`, replayed);
    ctx.body = presentWithSecret(endpoint);
  }

  async function list(ctx: Context): Promise<void> {
    const data = await endpoints.list(principalOf(ctx).tenant);
    ctx.body = page(data.map(presentEndpoint));
  }

  async function show(ctx: EndpointContext): Promise<void> {
    ctx.body = presentEndpoint(await find(ctx));
  }

  async function change(ctx: EndpointContext): Promise<void> {
    const body = guardPatch((await readSmallJson(ctx, bodyLimits)).value);
    const endpoint = await endpoints.change(principalOf(ctx).tenant, ctx.params.id, body);
    audit(ctx, 'webhook-endpoint.change', { endpoint: endpoint.id, fields: Object.keys(body) });
    ctx.body = presentEndpoint(endpoint);
  }

  async function remove(ctx: EndpointContext): Promise<void> {
    const { tenant, id } = await find(ctx);
    await endpoints.remove(tenant, id);
    await log.forget(tenant, id);
    audit(ctx, 'webhook-endpoint.delete', { endpoint: id });
    ctx.status = 204;
  }

  async function rotate(ctx: EndpointContext): Promise<void> {
    const endpoint = await endpoints.rotate(principalOf(ctx).tenant, ctx.params.id);
    audit(ctx, 'webhook-endpoint.rotate-secret', { endpoint: endpoint.id });
    ctx.body = presentWithSecret(endpoint);
  }

  /** Sends one event to this endpoint alone, even while it is disabled. */
  async function test(ctx: EndpointContext): Promise<void> {
    const now = clock.now();
    const id = await fanOut.test(await find(ctx), newId('evt', now), now);
    ctx.status = 202;
    ctx.set('Location', `/v1/deliveries/${id}`);
    ctx.body = presentDelivery(await deliveries.demand(principalOf(ctx).tenant, id));
  }

  async function showSecret(ctx: Context): Promise<void> {
    const [secret] = await endpoints.tenantSecrets(principalOf(ctx).tenant);
    ctx.body = { secret };
  }

  async function rotateSecret(ctx: Context): Promise<void> {
    const [secret] = await endpoints.rotateTenant(principalOf(ctx).tenant);
    audit(ctx, 'webhook-secret.rotate', {});
    ctx.body = { secret };
  }

  return routesOf(webhookOperations, auth, {
    'post /v1/webhook-endpoints': create,
    'get /v1/webhook-endpoints': list,
    'get /v1/webhook-endpoints/{id}': show,
    'patch /v1/webhook-endpoints/{id}': change,
    'delete /v1/webhook-endpoints/{id}': remove,
    'post /v1/webhook-endpoints/{id}/rotate-secret': rotate,
    'post /v1/webhook-endpoints/{id}/test': test,
    'get /v1/webhook-secret': showSecret,
    'post /v1/webhook-secret/rotate': rotateSecret,
  });
}

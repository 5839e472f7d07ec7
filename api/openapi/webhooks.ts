/**
 * Webhooks in the OpenAPI document: endpoints, deliveries, secrets, and what a receiver is posted.
 */

import { NULLABLE_TEXT } from '../../shared/contract/schema.js';
import {
  deliveryViewSchema,
  replaySchema,
  wholeDeliveryViewSchema,
} from '../../shared/contract/webhooks/delivery.js';
import {
  createEndpointSchema,
  endpointViewSchema,
  newEndpointViewSchema,
  patchEndpointSchema,
} from '../../shared/contract/webhooks/endpoint.js';
import { ID, IDEMPOTENCY_KEY, json, operation, page, query, ref, WHOLE_QUERY } from './parts.js';

const ENDPOINT = json('The endpoint.', ref('WebhookEndpoint'));
const NEW_ENDPOINT = json('The endpoint, with its secret.', ref('NewWebhookEndpoint'));
const DELIVERY = json('The delivery.', ref('Delivery'));
const DELIVERIES = json('A page.', page(ref('Delivery')));
const REPLAYED = json('How many.', {
  type: 'object',
  additionalProperties: false,
  required: ['replayed', 'nextCursor'],
  properties: { replayed: { type: 'integer' }, nextCursor: NULLABLE_TEXT },
});
const SECRET = json('The secret.', {
  type: 'object',
  required: ['secret'],
  properties: { secret: { type: 'string' } },
});
const DELIVERY_QUERY = query('status', 'type', 'from', 'to', 'limit', 'cursor');
const bodyOf = (schema: string) => ({
  required: true,
  content: { 'application/json': { schema: ref(schema) } },
});

export const webhookSchemas = {
  CreateWebhookEndpoint: createEndpointSchema,
  PatchWebhookEndpoint: patchEndpointSchema,
  WebhookEndpoint: endpointViewSchema,
  NewWebhookEndpoint: newEndpointViewSchema,
  Delivery: deliveryViewSchema,
  WholeDelivery: wholeDeliveryViewSchema,
  Replay: replaySchema,
};

export const webhookPaths = {
  '/v1/webhook-endpoints': {
    post: operation('createWebhookEndpoint', 'Be told of events', {
      parameters: [IDEMPOTENCY_KEY],
      requestBody: bodyOf('CreateWebhookEndpoint'),
      responses: { 201: NEW_ENDPOINT },
    }),
    get: operation('listWebhookEndpoints', "The tenant's endpoints, newest first", {
      parameters: WHOLE_QUERY,
      responses: { 200: json('All.', page(ref('WebhookEndpoint'))) },
    }),
  },
  '/v1/webhook-endpoints/{id}': {
    get: operation('getWebhookEndpoint', 'Look at an endpoint', {
      parameters: [ID],
      responses: { 200: ENDPOINT },
    }),
    patch: operation('changeWebhookEndpoint', 'Change an endpoint; pause it, or enable it again', {
      parameters: [ID],
      requestBody: bodyOf('PatchWebhookEndpoint'),
      responses: { 200: ENDPOINT },
    }),
    delete: operation('deleteWebhookEndpoint', 'Delete an endpoint, with its log and what it was not told', {
      parameters: [ID],
      responses: { 204: { description: 'It is gone.' } },
    }),
  },
  '/v1/webhook-endpoints/{id}/rotate-secret': {
    post: operation('rotateWebhookEndpointSecret', 'A new secret; the old one signs beside it for 24 h', {
      parameters: [ID],
      responses: { 200: NEW_ENDPOINT },
    }),
  },
  '/v1/webhook-endpoints/{id}/test': {
    post: operation('testWebhookEndpoint', 'Post an `endpoint.test` to an endpoint, once, enabled or not', {
      parameters: [ID],
      responses: { 202: DELIVERY },
    }),
  },
  '/v1/webhook-endpoints/{id}/deliveries': {
    get: operation('listEndpointDeliveries', 'What an endpoint was told in the last 30 days, newest first', {
      parameters: [ID, ...DELIVERY_QUERY],
      responses: { 200: DELIVERIES },
    }),
  },
  '/v1/webhook-endpoints/{id}/replay': {
    post: operation('replayEndpointDeliveries', 'Tell an endpoint again what failed since a time', {
      description: 'At most 1,000 in one call, the newest first; `nextCursor` goes on.',
      parameters: [ID],
      requestBody: bodyOf('Replay'),
      responses: { 202: REPLAYED },
    }),
  },
  '/v1/deliveries': {
    get: operation('listJobDeliveries', 'What webhooks of single jobs were told, newest first', {
      parameters: DELIVERY_QUERY,
      responses: { 200: DELIVERIES },
    }),
  },
  '/v1/deliveries/replay': {
    post: operation('replayJobDeliveries', 'Tell webhooks of single jobs again what failed since a time', {
      description: 'At most 1,000 in one call, the newest first; `nextCursor` goes on.',
      requestBody: bodyOf('Replay'),
      responses: { 202: REPLAYED },
    }),
  },
  '/v1/deliveries/{id}': {
    get: operation('getDelivery', 'Look at a delivery, with its attempts', {
      parameters: [ID],
      responses: { 200: json('The delivery.', ref('WholeDelivery')) },
    }),
  },
  '/v1/deliveries/{id}/replay': {
    post: operation('replayDelivery', 'One more attempt, at once, under the same `webhook-id`', {
      parameters: [ID],
      responses: { 202: DELIVERY },
    }),
  },
  '/v1/webhook-secret': {
    get: operation('getWebhookSecret', 'The secret that signs webhooks of single jobs', {
      responses: { 200: SECRET },
    }),
  },
  '/v1/webhook-secret/rotate': {
    post: operation('rotateWebhookSecret', 'A new secret; the old one signs beside it for 24 h', {
      responses: { 200: SECRET },
    }),
  },
};

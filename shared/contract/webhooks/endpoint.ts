/**
 * A webhook endpoint: a URL of a tenant to which events are sent.
 *
 *   enabled -> paused             the tenant disables it
 *   enabled -> disabled           Sluice disables it: `failing` after `DISABLE_AFTER_MS` without a success, `gone` after a 410
 *   paused, disabled -> enabled   the tenant enables it
 *
 * While an endpoint is not enabled, its deliveries are created and held. It gets them once it is enabled again.
 */
import { toTimestamp, toTimestampOrNull } from '../../base/clock.js';
import { exactly, type JsonSchema, NULLABLE_TIME, TIME, type TypeOf } from '../schema.js';
import { EVENTS, includePredictionsSchema, type SubscribedEvent, urlSchema } from './events.js';
import type { SigningSecrets } from './signing.js';

/** Sluice disables an endpoint that has failed for this time without a success. */
export const DISABLE_AFTER_MS = 120 * 3_600_000;
/**
 * A failure that follows the last one by more than this counts as the first of a new series. The time is longer than any delay of
 * the retry schedule.
 */
export const QUIET_MS = 72 * 3_600_000;

const properties = {
  url: {
    ...urlSchema,
    description:
      'Where events are posted: https on port 443 or 8443; what the operator lists also by http and on any port.',
  },
  events: {
    type: 'array',
    minItems: 1,
    maxItems: EVENTS.length,
    uniqueItems: true,
    items: { enum: EVENTS },
    description: "What it is told; unless said, jobs' ends, versions of models, and endpoints disabled.",
  },
  description: { type: 'string', maxLength: 256 },
  enabled: { type: 'boolean', description: 'False holds what it is to be told; true tells it.' },
  includePredictions: includePredictionsSchema,
} as const satisfies JsonSchema['properties'];

export const createEndpointSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['url'],
  properties,
} as const satisfies JsonSchema;

export const patchEndpointSchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  properties,
} as const satisfies JsonSchema;

export type CreateEndpoint = TypeOf<typeof createEndpointSchema>;
export type PatchEndpoint = TypeOf<typeof patchEndpointSchema>;

export type DisabledReason = 'paused' | 'failing' | 'gone';

/** Times are in milliseconds since the Unix epoch. */
export interface Endpoint {
  id: string;
  tenant: string;
  url: string;
  events: SubscribedEvent[];
  description: string;
  enabled: boolean;
  includePredictions: boolean;
  secrets: SigningSecrets;
  createdAt: number;
  disabledAt: number | null;
  disabledReason: DisabledReason | null;
  /** The time of the first failure since the last success; null when the last attempt succeeded. */
  failingSince: number | null;
  lastSuccessAt: number | null;
  /** The number of events for which no delivery was created, because the log was full of pending deliveries. */
  dropped: number;
}

const viewProperties = {
  id: { type: 'string' },
  object: { const: 'webhook_endpoint' },
  url: { type: 'string' },
  events: { type: 'array', items: { enum: EVENTS } },
  description: { type: 'string' },
  enabled: { type: 'boolean' },
  includePredictions: { type: 'boolean' },
  createdAt: TIME,
  disabledAt: NULLABLE_TIME,
  disabledReason: {
    enum: ['paused', 'failing', 'gone', null],
    description: 'By its tenant; by 120 h without a success; by an answer 410.',
  },
  failingSince: { ...NULLABLE_TIME, description: 'Its first failure since its last success.' },
  lastSuccessAt: NULLABLE_TIME,
  dropped: { type: 'integer', description: 'Events not kept, because as many as are kept were pending.' },
} as const satisfies JsonSchema['properties'];

/** The view of an endpoint, without its secret. */
export const endpointViewSchema = exactly(viewProperties);
export type EndpointView = TypeOf<typeof endpointViewSchema>;

/** The view of an endpoint with its secret, which only the calls that create or rotate it show. */
export const newEndpointViewSchema = exactly({
  ...viewProperties,
  secret: { type: 'string', description: 'Shown here alone.' },
});

/** Returns the view of an endpoint, without its secret. */
export function presentEndpoint({ tenant: _, secrets: __, ...endpoint }: Endpoint): EndpointView {
  return {
    ...endpoint,
    object: 'webhook_endpoint',
    createdAt: toTimestamp(endpoint.createdAt),
    disabledAt: toTimestampOrNull(endpoint.disabledAt),
    failingSince: toTimestampOrNull(endpoint.failingSince),
    lastSuccessAt: toTimestampOrNull(endpoint.lastSuccessAt),
  };
}

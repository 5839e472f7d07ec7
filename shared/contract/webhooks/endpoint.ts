/**
 * A webhook endpoint: a URL of a tenant that is told of events.
 *
 *   enabled -> paused     by its tenant          paused, disabled -> enabled   by its tenant, with one call
 *   enabled -> disabled   by us: `failing` after `DISABLE_AFTER_MS` without a success, `gone` when it answered 410
 *
 * Meanwhile its deliveries are made and held; enabled again, it gets them.
 */
import { toTimestamp, toTimestampOrNull } from '../../base/clock.js';
import type { JsonSchema, TypeOf } from '../schema.js';
import { EVENTS, type EventType, includePredictionsSchema, urlSchema } from './events.js';
import type { SigningSecrets } from './signing.js';

export const DISABLE_AFTER_MS = 120 * 3_600_000;
/** Without a failure for so long, the next one begins anew: longer than any pause between two attempts. */
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

/** Times in milliseconds since the Unix epoch. */
export interface Endpoint {
  id: string;
  tenant: string;
  url: string;
  events: EventType[];
  description: string;
  enabled: boolean;
  includePredictions: boolean;
  secrets: SigningSecrets;
  createdAt: number;
  disabledAt: number | null;
  disabledReason: DisabledReason | null;
  /** Of the first failure since the last success. */
  failingSince: number | null;
  lastSuccessAt: number | null;
  /** Events that were not kept, because as many as are kept were pending. */
  dropped: number;
}

/** Its secret is shown where it is made, and nowhere else. */
export function presentEndpoint({ tenant: _, secrets: __, ...endpoint }: Endpoint) {
  return {
    ...endpoint,
    object: 'webhook_endpoint' as const,
    createdAt: toTimestamp(endpoint.createdAt),
    disabledAt: toTimestampOrNull(endpoint.disabledAt),
    failingSince: toTimestampOrNull(endpoint.failingSince),
    lastSuccessAt: toTimestampOrNull(endpoint.lastSuccessAt),
  };
}

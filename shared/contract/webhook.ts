/**
 * Webhooks: which facts are told, and the body that tells them (Standard Webhooks 1.0: `type`, `timestamp`, `data`).
 */
import type { JsonSchema } from './schema.js';

export const JOB_EVENTS = ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired'] as const;
export type JobEvent = (typeof JOB_EVENTS)[number];

/** A subscription of one job; without `events` it is told every end. */
export const webhookSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['url'],
  properties: {
    url: { type: 'string', minLength: 1, maxLength: 2048 },
    events: { type: 'array', minItems: 1, maxItems: JOB_EVENTS.length, items: { enum: JOB_EVENTS } },
    includePredictions: {
      type: 'boolean',
      description: 'Adds the predictions where they take at most 20 kB.',
    },
  },
} as const satisfies JsonSchema;

/** Largest JSON of predictions that a body carries. */
export const MAX_PREDICTIONS_BYTES = 20_000;

export interface WebhookBody {
  type: JobEvent;
  timestamp: string;
  data: object;
}

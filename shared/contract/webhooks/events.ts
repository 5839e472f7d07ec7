/**
 * Webhooks: which facts are told, to whom, and the body that tells them (Standard Webhooks 1.0: `type`, `timestamp`, `data`).
 *
 * A subscription is either a job's own (`webhook` of a submit) or a tenant's endpoint (see endpoint.ts).
 */
import type { JsonSchema } from '../schema.js';

/** A job's ends: each job has one of them, once. */
export const JOB_EVENTS = ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired'] as const;
export type JobEvent = (typeof JOB_EVENTS)[number];

/** How a job is getting on: told only to who asks for them, and not once it has ended. */
export const PROGRESS_EVENTS = ['job.started', 'job.progress'] as const;
export type ProgressEvent = (typeof PROGRESS_EVENTS)[number];

export const MODEL_EVENTS = ['model.version.ready', 'model.version.failed'] as const;
export type ModelEvent = (typeof MODEL_EVENTS)[number];

/** What an endpoint may subscribe to. */
export const EVENTS = [...JOB_EVENTS, ...PROGRESS_EVENTS, ...MODEL_EVENTS, 'endpoint.disabled'] as const;
/** What it is told unless it says. */
export const DEFAULT_EVENTS = [...JOB_EVENTS, ...MODEL_EVENTS, 'endpoint.disabled'] as const;
/** `endpoint.test` is told where it is asked for, whatever was subscribed to. */
export type EventType = (typeof EVENTS)[number] | 'endpoint.test';

/** At most one `job.progress` of a job is told in so many milliseconds. */
export const PROGRESS_PERIOD_MS = 5000;

export function isProgressEvent(type: EventType): type is ProgressEvent {
  return (PROGRESS_EVENTS as readonly string[]).includes(type);
}

export const includePredictionsSchema = {
  type: 'boolean',
  description: 'Adds the predictions where they take at most 20 kB.',
} as const satisfies JsonSchema;

export const urlSchema = { type: 'string', minLength: 1, maxLength: 2048 } as const satisfies JsonSchema;

const ownEvents = [...JOB_EVENTS, ...PROGRESS_EVENTS] as const;

/** A subscription of one job; without `events` it is told every end. */
export const webhookSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['url'],
  properties: {
    url: urlSchema,
    events: {
      type: 'array',
      minItems: 1,
      maxItems: ownEvents.length,
      uniqueItems: true,
      items: { enum: ownEvents },
    },
    includePredictions: includePredictionsSchema,
  },
} as const satisfies JsonSchema;

/** Largest JSON of predictions that a body carries. */
export const MAX_PREDICTIONS_BYTES = 20_000;

export interface WebhookBody {
  type: EventType;
  timestamp: string;
  data: object;
}

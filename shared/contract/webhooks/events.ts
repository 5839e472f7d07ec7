/**
 * Events: which facts webhooks tell, and the body that tells them (Standard Webhooks 1.0: `type`, `timestamp`, `data`).
 *
 * A subscription is either a job's own webhook (`webhook` of a submission) or a tenant's endpoint (endpoint.ts).
 */
import type { JsonSchema } from '../schema.js';

/** The end of a job; each job has exactly one. */
export const JOB_EVENTS = ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired'] as const;
export type JobEndEvent = (typeof JOB_EVENTS)[number];

/** The progress of a job. It is sent only to subscriptions that name it, and never after the end of the job. */
const PROGRESS_EVENTS = ['job.started', 'job.progress'] as const;

const MODEL_EVENTS = ['model.version.ready', 'model.version.failed'] as const;

/** The events to which an endpoint may subscribe. */
export const EVENTS = [...JOB_EVENTS, ...PROGRESS_EVENTS, ...MODEL_EVENTS, 'endpoint.disabled'] as const;
export type SubscribedEvent = (typeof EVENTS)[number];
/** The events of an endpoint whose tenant names none. */
export const DEFAULT_EVENTS = [...JOB_EVENTS, ...MODEL_EVENTS, 'endpoint.disabled'] as const;
/** `endpoint.test` needs no subscription, because the tenant requests it for one endpoint. */
export type EventType = SubscribedEvent | 'endpoint.test';

/** A job causes at most one `job.progress` in this time. */
export const PROGRESS_PERIOD_MS = 5000;

/** Returns whether the event tells the progress of a job that has not ended. */
export function isProgressEvent(type: EventType): type is (typeof PROGRESS_EVENTS)[number] {
  return (PROGRESS_EVENTS as readonly string[]).includes(type);
}

export const includePredictionsSchema = {
  type: 'boolean',
  description: 'Adds the predictions where they take at most 20 kB; else `predictionsOmitted` is true.',
} as const satisfies JsonSchema;

export const urlSchema = { type: 'string', minLength: 1, maxLength: 2048 } as const satisfies JsonSchema;

const ownEvents = [...JOB_EVENTS, ...PROGRESS_EVENTS] as const;

/** A job's own webhook; without `events` it gets every event of `JOB_EVENTS`. */
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

/** The largest JSON of predictions that a body carries. */
export const MAX_PREDICTIONS_BYTES = 20_000;
/** The most instance errors that a body carries; the job has all of them. */
export const MAX_INSTANCE_ERRORS = 100;

/** The body of a webhook (Standard Webhooks 1.0). `timestamp` is the time of the event, RFC 3339. */
export interface WebhookBody {
  type: EventType;
  timestamp: string;
  data: object;
}

/**
 * A delivery: one event that goes to one subscription.
 *
 *   pending -> delivered           the receiver responded 2xx
 *   pending -> failed              the schedule ran out, or the receiver responded 410
 *   delivered, failed -> pending   a replay makes one more attempt; if that fails, the delivery returns to its earlier status
 *
 * Every attempt carries the same bytes under the same `webhook-id` (Standard Webhooks 1.0), which is the id of the delivery.
 */
import { toTimestamp } from '../../base/clock.js';
import { exactly, type JsonSchema, NULLABLE_TEXT, NULLABLE_TIME, TIME, type TypeOf } from '../schema.js';
import { EVENTS, type EventType } from './events.js';

export const DELIVERY_STATUSES = ['pending', 'delivered', 'failed'] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** A delivery and its attempts are kept for this time. */
export const DELIVERY_KEPT_MS = 30 * 86_400_000;

/** The part of a response body that is kept once another attempt has followed. The body of the last attempt is kept as read. */
const EARLIER_RESPONSE_CHARACTERS = 1024;

/** Times are in milliseconds since the Unix epoch. */
export interface Delivery {
  /** The `webhook-id` of every attempt. */
  id: string;
  tenant: string;
  /** The id of the endpoint; null for a job's own webhook. */
  endpoint: string | null;
  /** The URL of a job's own webhook; null for an endpoint, whose URL is read at each attempt. */
  url: string | null;
  type: EventType;
  /** The id of the job that the event is about; null when the event is about something else. */
  job: string | null;
  body: string;
  /** The time of the event. */
  at: number;
  status: DeliveryStatus;
  /** The number of attempts that were made. */
  attempts: number;
  /** The time before which no attempt may begin. */
  nextAt: number;
  /** Set when only one more attempt is made: the status if that fails. Null while the retry schedule applies. */
  once: DeliveryStatus | null;
}

/** A delivery as lists contain it. */
export type DeliveryHead = Omit<Delivery, 'body'>;

export interface DeliveryAttempt {
  /** The time at which the attempt began, in milliseconds since the Unix epoch. */
  at: number;
  /** The HTTP status; null when no response came, and then `error` says why. */
  status: number | null;
  error: string | null;
  latencyMs: number;
  /** The start of the response body; null when no response came. */
  responseBody: string | null;
}

export const replaySchema = {
  type: 'object',
  additionalProperties: false,
  required: ['from'],
  properties: {
    from: { type: 'string', format: 'date-time', description: 'Events from then on (RFC 3339).' },
    to: { type: 'string', format: 'date-time', description: 'Events until then; now, unless said.' },
    status: { enum: ['failed', 'delivered'], description: '`failed`, unless said.' },
    cursor: { type: 'string', maxLength: 64, description: 'The `nextCursor` of an earlier answer.' },
  },
} as const satisfies JsonSchema;
export type ReplayRequest = TypeOf<typeof replaySchema>;

const viewProperties = {
  id: { type: 'string', description: 'The `webhook-id` of every attempt.' },
  object: { const: 'delivery' },
  endpoint: { ...NULLABLE_TEXT, description: "Null for a single job's webhook." },
  url: { ...NULLABLE_TEXT, description: "Of a single job's webhook." },
  type: { enum: [...EVENTS, 'endpoint.test'] },
  job: NULLABLE_TEXT,
  status: { enum: DELIVERY_STATUSES },
  createdAt: TIME,
  attemptCount: { type: 'integer' },
  nextAttemptAt: NULLABLE_TIME,
} as const satisfies JsonSchema['properties'];

/** The view of a delivery in lists. */
export const deliveryViewSchema = exactly(viewProperties);
export type DeliveryView = TypeOf<typeof deliveryViewSchema>;

/** The view of a delivery alone: with the body that was sent, and with all attempts. */
export const wholeDeliveryViewSchema = exactly({
  ...viewProperties,
  payload: { type: 'object', description: 'What every attempt posts.' },
  attempts: {
    type: 'array',
    items: exactly({
      at: TIME,
      status: { type: ['integer', 'null'] },
      error: NULLABLE_TEXT,
      latencyMs: { type: 'integer' },
      responseBody: { ...NULLABLE_TEXT, description: 'At most 16 KiB; of all but the last, 1 KiB.' },
    }),
  },
});
export type WholeDeliveryView = TypeOf<typeof wholeDeliveryViewSchema>;

/** Returns the view of a delivery in lists. */
export function presentDelivery(delivery: DeliveryHead): DeliveryView {
  return {
    id: delivery.id,
    object: 'delivery',
    endpoint: delivery.endpoint,
    url: delivery.url,
    type: delivery.type,
    job: delivery.job,
    status: delivery.status,
    createdAt: toTimestamp(delivery.at),
    attemptCount: delivery.attempts,
    nextAttemptAt: delivery.status === 'pending' ? toTimestamp(delivery.nextAt) : null,
  };
}

/** Returns the view of a delivery alone. */
export function presentWholeDelivery(
  delivery: Delivery,
  attempts: readonly DeliveryAttempt[],
): WholeDeliveryView {
  return {
    ...presentDelivery(delivery),
    payload: JSON.parse(delivery.body) as WholeDeliveryView['payload'],
    attempts: attempts.map((attempt) => ({ ...attempt, at: toTimestamp(attempt.at) })),
  };
}

/** Returns the attempt as it is kept once another has followed: its response body is cut to 1,024 characters. */
export function shortenResponse(attempt: DeliveryAttempt): DeliveryAttempt {
  return { ...attempt, responseBody: attempt.responseBody?.slice(0, EARLIER_RESPONSE_CHARACTERS) ?? null };
}

/**
 * A delivery: one event to one subscription.
 *
 *   pending -> delivered      the receiver answered 2xx
 *   pending -> failed         the schedule ran out, or the receiver answered 410
 *   delivered, failed -> pending   it is replayed: one more attempt, and then what it was, or delivered
 *
 * Every attempt carries the same bytes under the same `webhook-id`, which is the delivery's.
 */
import { toTimestamp } from '../../base/clock.js';
import type { JsonSchema, TypeOf } from '../schema.js';
import type { EventType } from './events.js';

export const DELIVERY_STATUSES = ['pending', 'delivered', 'failed'] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** How long a delivery and its attempts are kept. */
export const DELIVERY_KEPT_MS = 30 * 86_400_000;

/** Of the answers before the last, so much is kept; of the last all that was read. */
const EARLIER_RESPONSE_CHARACTERS = 1024;

/** Times in milliseconds since the Unix epoch. */
export interface Delivery {
  /** The `webhook-id` of every attempt. */
  id: string;
  tenant: string;
  /** Null for a job's own webhook. */
  endpoint: string | null;
  /** Of a job's own webhook; an endpoint's is the one it has at the attempt. */
  url: string | null;
  type: EventType;
  /** Which the event is of, if it is of one. */
  job: string | null;
  body: string;
  /** When its event happened. */
  at: number;
  status: DeliveryStatus;
  /** Attempts made. */
  attempts: number;
  /** Not to be attempted before. */
  nextAt: number;
  /** What it is after one more attempt that fails; null while it has a schedule. */
  once: DeliveryStatus | null;
}

/** As lists have it. */
export type DeliveryHead = Omit<Delivery, 'body'>;

export interface DeliveryAttempt {
  at: number;
  /** Of the HTTP answer; null when there was none, and `error` says why. */
  status: number | null;
  error: string | null;
  latencyMs: number;
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

/** As lists show it. */
export function presentDelivery(delivery: DeliveryHead) {
  return {
    id: delivery.id,
    object: 'delivery' as const,
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

/** With what was sent and what was answered. */
export function presentWholeDelivery(delivery: Delivery, attempts: readonly DeliveryAttempt[]) {
  return {
    ...presentDelivery(delivery),
    payload: JSON.parse(delivery.body) as object,
    attempts: attempts.map((attempt) => ({ ...attempt, at: toTimestamp(attempt.at) })),
  };
}

/** An attempt as it is kept once another has followed. */
export function slim(attempt: DeliveryAttempt): DeliveryAttempt {
  return { ...attempt, responseBody: attempt.responseBody?.slice(0, EARLIER_RESPONSE_CHARACTERS) ?? null };
}

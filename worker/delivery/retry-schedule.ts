/**
 * The retry schedule: what follows an attempt. The delivery is delivered, has failed, or is attempted again after a delay. Pure.
 *
 * Only 2xx is a success. 410 ends the delivery. Everything else is attempted again, 3xx too, because redirects are never
 * followed. The schedule is that of Standard Webhooks: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h.
 */
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { DISABLE_AFTER_MS } from '../../shared/contract/webhooks/endpoint.js';
import { isProgressEvent } from '../../shared/contract/webhooks/events.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** The delay after the first attempt, after the second, and so on, 75.6 h in all. No attempt follows the last one. */
export const RETRY_DELAYS_MS: readonly number[] = [
  5000,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  14 * HOUR_MS,
  20 * HOUR_MS,
  24 * HOUR_MS,
];

/** Delays vary by a tenth both ways, so that receivers that failed together are not called together. */
const JITTER = 0.1;
/** Progress of a job is outdated soon, so it is not worth more attempts. */
const PROGRESS_RETRIES = 2;
/** A receiver that asks for more time gets no other delivery either, but for no longer than this. */
const MAX_REST_MS = 60_000;

/** The part of a receiver's response that decides what follows. */
export interface ReceiverResponse {
  /** The HTTP status; null when no response came. */
  status: number | null;
  /** The `Retry-After` header as it came. */
  retryAfter: string | null;
}

/** The status of a delivery after an attempt; `delayMs` is the time until the next attempt. */
export type NextStep =
  | { status: 'delivered' }
  | { status: 'failed' }
  | { status: 'pending'; delayMs: number };

export interface RetrySchedule {
  /** The delay after the first attempt, after the second, and so on. */
  delaysMs: readonly number[];
  /** An endpoint is disabled when it has had no success for this long. */
  disableAfterMs: number;
  /** The longest rest of a receiver whose circuit is open, unless its attempts take longer or it asks for more. */
  longestRestMs: number;
  /** Returns a number from 0 to 1. */
  random: () => number;
}

export const RETRY_SCHEDULE: RetrySchedule = {
  delaysMs: RETRY_DELAYS_MS,
  disableAfterMs: DISABLE_AFTER_MS,
  // A receiver that refused is attempted this long after it is back, at the latest: a fifth of the shortest delay.
  longestRestMs: 1000,
  random: Math.random,
};

/** The part of a delivery that decides on its next attempt, as it was before the last one. */
export type AttemptedDelivery = Pick<Delivery, 'type' | 'attempts' | 'once'>;

/** Returns what follows an attempt. `nowMs` is in milliseconds since the Unix epoch; `Retry-After` dates are compared with it. */
export function nextStep(
  response: ReceiverResponse,
  delivery: AttemptedDelivery,
  nowMs: number,
  schedule: RetrySchedule,
): NextStep {
  if (isSuccess(response)) return { status: 'delivered' };
  const scheduledMs = scheduledDelay(delivery, schedule);
  if (response.status === 410 || scheduledMs === undefined) return { status: 'failed' };
  const delayMs = scheduledMs * (1 - JITTER + 2 * JITTER * schedule.random());
  const requestedMs = requestedDelay(response, nowMs);
  return {
    status: 'pending',
    delayMs: requestedMs === null ? delayMs : clamp(requestedMs, delayMs, 2 * delayMs),
  };
}

/** Returns whether the response has a 2xx status. */
export function isSuccess({ status }: ReceiverResponse): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** Returns for how many milliseconds the receiver asks to be left alone: 0 to `MAX_REST_MS`. */
export function requestedRestMs(response: ReceiverResponse, nowMs: number): number {
  return clamp(requestedDelay(response, nowMs) ?? 0, 0, MAX_REST_MS);
}

/** Undefined when no attempt follows. */
function scheduledDelay(
  { type, attempts, once }: AttemptedDelivery,
  { delaysMs }: RetrySchedule,
): number | undefined {
  if (once !== null || (isProgressEvent(type) && attempts >= PROGRESS_RETRIES)) return undefined;
  return delaysMs[attempts];
}

/** Reads `Retry-After` of a receiver that is overloaded or broken; null when there is none. */
function requestedDelay({ status, retryAfter }: ReceiverResponse, nowMs: number): number | null {
  if (status === null || retryAfter === null || (status !== 429 && status < 500)) return null;
  return parseRetryAfter(retryAfter, nowMs);
}

/** Parses seconds or an HTTP date (RFC 9110, section 10.2.3). Returns milliseconds from `nowMs`, or null when it is neither. */
export function parseRetryAfter(text: string, nowMs: number): number | null {
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000;
  const at = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? null : at - nowMs;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

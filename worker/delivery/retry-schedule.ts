/**
 * What follows from an attempt: delivered, failed, or another attempt after a pause. Pure.
 *
 * 2xx alone is success. 410 ends the delivery. Everything else (3xx too, redirects are never followed) is tried again on
 * the schedule of Standard Webhooks: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h.
 */

import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { DISABLE_AFTER_MS } from '../../shared/contract/webhooks/endpoint.js';
import { isProgressEvent } from '../../shared/contract/webhooks/events.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** The pause after the first attempt, after the second, … ; no attempt follows the last one: 75.6 h in all. */
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

/** Pauses vary by a tenth both ways, so that receivers that failed together are not called together. */
const JITTER = 0.1;
/** How a job is getting on is not worth more attempts. */
const PROGRESS_RETRIES = 2;
/** A receiver that asks for more time is left alone by what else there is for it, but no longer than this. */
const MAX_REST_MS = 60_000;

export interface Outcome {
  /** Of the HTTP answer; null when there was none. */
  status: number | null;
  retryAfter: string | null;
}

export type Verdict = { status: 'delivered' } | { status: 'failed' } | { status: 'pending'; delayMs: number };

export interface Schedule {
  delaysMs: readonly number[];
  /** Without a success for so long, an endpoint is disabled. */
  disableAfterMs: number;
  /** Of a receiver whose circuit is open, unless its attempts take longer or it asks for more. */
  longestRestMs: number;
  /** 0 to 1. */
  random: () => number;
}

export const SCHEDULE: Schedule = {
  delaysMs: RETRY_DELAYS_MS,
  disableAfterMs: DISABLE_AFTER_MS,
  // So long after it is back a receiver that refused at once is told: a fifth of the shortest pause.
  longestRestMs: 1000,
  random: Math.random,
};

/** Of a delivery before the attempt that is judged. */
export type Judged = Pick<Delivery, 'type' | 'attempts' | 'once'>;

export function judge(outcome: Outcome, delivery: Judged, nowMs: number, schedule: Schedule): Verdict {
  if (isSuccess(outcome)) return { status: 'delivered' };
  const scheduled = pauseAfter(delivery, schedule);
  if (outcome.status === 410 || scheduled === undefined) return { status: 'failed' };
  const delayMs = scheduled * (1 - JITTER + 2 * JITTER * schedule.random());
  const askedMs = pauseAsked(outcome, nowMs);
  return { status: 'pending', delayMs: askedMs === null ? delayMs : clamp(askedMs, delayMs, 2 * delayMs) };
}

export function isSuccess({ status }: Outcome): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** For how long the receiver asks to be left alone, in milliseconds, within bounds. */
export function restAsked(outcome: Outcome, nowMs: number): number {
  return clamp(pauseAsked(outcome, nowMs) ?? 0, 0, MAX_REST_MS);
}

/** Undefined when no attempt follows. */
function pauseAfter({ type, attempts, once }: Judged, { delaysMs }: Schedule): number | undefined {
  if (once !== null || (isProgressEvent(type) && attempts >= PROGRESS_RETRIES)) return undefined;
  return delaysMs[attempts];
}

/** `Retry-After` of a receiver that is overloaded or broken: it may ask for more time, never for less. */
function pauseAsked({ status, retryAfter }: Outcome, nowMs: number): number | null {
  if (status === null || retryAfter === null || (status !== 429 && status < 500)) return null;
  return parseRetryAfter(retryAfter, nowMs);
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3), as milliseconds from now; null when it is neither. */
export function parseRetryAfter(text: string, nowMs: number): number | null {
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000;
  const at = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? null : at - nowMs;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

/**
 * What follows from an attempt: delivered, failed, or another attempt after a pause. Pure.
 *
 * 2xx alone is success. 410 ends the delivery. Everything else (3xx too, redirects are never followed) is tried again on
 * the schedule of Standard Webhooks: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h.
 */

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

export interface Outcome {
  /** Of the HTTP answer; null when there was none. */
  status: number | null;
  retryAfter: string | null;
}

export type Verdict = { state: 'delivered' } | { state: 'failed' } | { state: 'pending'; delayMs: number };

export interface Schedule {
  delaysMs: readonly number[];
  /** 0 to 1. */
  random: () => number;
}

/** `attempts` counts the one that ended with `outcome` at `nowMs`. */
export function judge(outcome: Outcome, attempts: number, nowMs: number, schedule: Schedule): Verdict {
  const { status } = outcome;
  if (status !== null && status >= 200 && status < 300) return { state: 'delivered' };
  const scheduled = schedule.delaysMs[attempts - 1];
  if (status === 410 || scheduled === undefined) return { state: 'failed' };
  const delayMs = scheduled * (1 - JITTER + 2 * JITTER * schedule.random());
  if (status !== 429 && status !== 503) return { state: 'pending', delayMs };
  return { state: 'pending', delayMs: honour(outcome.retryAfter, delayMs, nowMs) };
}

/** A receiver may ask for more time, never for less, and at most for twice the pause it would have had. */
function honour(retryAfter: string | null, delayMs: number, nowMs: number): number {
  const askedMs = retryAfter === null ? null : parseRetryAfter(retryAfter, nowMs);
  return askedMs === null ? delayMs : Math.min(Math.max(askedMs, delayMs), 2 * delayMs);
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3), as milliseconds from now; null when it is neither. */
export function parseRetryAfter(text: string, nowMs: number): number | null {
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1000;
  const at = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? null : at - nowMs;
}

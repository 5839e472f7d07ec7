/**
 * Time as a dependency: the only file that reads the system clock or sets a timer.
 *
 * Production code is handed a `Clock`; tests hand it one they advance by themselves, so nothing in a test sleeps.
 */
import { performance } from 'node:perf_hooks';

export interface Clock {
  /** Wall time, milliseconds since the Unix epoch. */
  now(): number;
  /** Time that never runs backwards, in milliseconds: for durations. */
  monotonic(): number;
  /** Calls `act` once after `delayMs`; the returned function cancels it and may be called at any time. */
  after(delayMs: number, act: () => void): () => void;
  /** Calls `act` once what has already arrived has been dealt with (the end of this turn of the event loop). */
  soon(act: () => void): void;
  /** Calls `act` every `periodMs` until canceled; does not by itself keep the process alive. */
  every(periodMs: number, act: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, act) {
    const timer = setTimeout(act, delayMs);
    return () => clearTimeout(timer);
  },
  soon: (act) => void setImmediate(act),
  every(periodMs, act) {
    const timer = setInterval(act, periodMs).unref();
    return () => clearInterval(timer);
  },
};

/** Resolves after `delayMs` milliseconds, or at once when `signal` aborts; it never rejects. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Resolves or rejects as `promise` does, or resolves with null once it has taken `boundMs` milliseconds. */
export async function within<T>(clock: Clock, boundMs: number, promise: Promise<T>): Promise<T | null> {
  const stop = new AbortController();
  const late = sleep(clock, boundMs, stop.signal).then(() => null);
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/** Returns RFC 3339 in UTC with milliseconds, the one way in which a time is written on the wire. */
export function toTimestamp(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** Returns milliseconds since the Unix epoch, or NaN when `text` is not an RFC 3339 time with a zone. */
export function parseTimestamp(text: string): number {
  return /^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$/i.test(text) ? Date.parse(text) : Number.NaN;
}

/** Returns null for null, else the same as `toTimestamp`. */
export function toTimestampOrNull(epochMs: number | null): string | null {
  return epochMs === null ? null : toTimestamp(epochMs);
}

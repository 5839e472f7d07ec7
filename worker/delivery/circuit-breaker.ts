/**
 * Circuit breaker (M. Nygard, Release It!): how many attempts may run at once to one receiver. A receiver that hangs or fails thus
 * leaves room for the others. Its only side effect is to read the clock.
 *
 *   closed   up to `slotsPerReceiver` attempts run at once
 *   open     after `OPENS_AFTER` failures in a row one attempt runs at a time, and a rest follows each. The rest is at least
 *            as long as the attempt took, so a receiver that hangs keeps one slot busy half of the time. The rest also doubles
 *            with each failure up to `longestRestMs`, because a refused attempt costs more than one that succeeds.
 *
 * One success closes the circuit.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../shared/base/clock.js';

export interface CircuitBreaker {
  /** Takes a slot of the receiver. True means that an attempt may run and that the caller must `release` the slot afterwards. */
  tryAcquire(receiver: string): boolean;
  /** Gives the slot back. `feedback` is null when no attempt was made. */
  release(receiver: string, feedback: AttemptFeedback | null): void;
  /** Returns the number of attempts that could begin now. */
  freeSlots(receiver: string): number;
  /** Returns for how many milliseconds the receiver still rests. */
  restMs(receiver: string): number;
  /** Returns the number of receivers whose circuit is open. */
  openCircuits(): number;
}

export interface AttemptFeedback {
  isSuccess: boolean;
  tookMs: number;
  /** The time for which the receiver asked to be left alone, in milliseconds; 0 when it did not ask. */
  restMs: number;
}

export interface CircuitBreakerLimits {
  /** Attempts to one receiver at once while its circuit is closed. */
  slotsPerReceiver: number;
  /** The longest rest that failures alone cause. */
  longestRestMs: number;
}

interface Receiver {
  underWay: number;
  failuresInARow: number;
  /** By the monotonic clock. */
  restsUntilMs: number;
}

const OPENS_AFTER = 5;
/** The first rest of an open circuit is the longest divided by this; each failure doubles it. */
const FIRST_REST_DIVISOR = 8;
/** Bounds memory. The breaker forgets the receiver that was used longest ago, and its circuit counts as closed again. */
const MAX_RECEIVERS = 10_000;

/** Returns the circuit breaker of all receivers of this process. It knows a receiver by any string that names it. */
export function createCircuitBreaker(
  clock: Pick<Clock, 'monotonic'>,
  { slotsPerReceiver, longestRestMs }: CircuitBreakerLimits,
): CircuitBreaker {
  const receivers = new LRUCache<string, Receiver>({ max: MAX_RECEIVERS });

  function stateOf(name: string): Receiver {
    const receiver = receivers.get(name) ?? { underWay: 0, failuresInARow: 0, restsUntilMs: 0 };
    receivers.set(name, receiver);
    return receiver;
  }

  const restMs = (name: string) => Math.max(0, stateOf(name).restsUntilMs - clock.monotonic());

  function freeSlots(name: string): number {
    if (restMs(name) > 0) return 0;
    const receiver = stateOf(name);
    return Math.max(0, (isOpen(receiver) ? 1 : slotsPerReceiver) - receiver.underWay);
  }

  function restAfterFailures({ failuresInARow }: Receiver): number {
    if (failuresInARow < OPENS_AFTER) return 0;
    const firstMs = longestRestMs / FIRST_REST_DIVISOR;
    return Math.min(firstMs * 2 ** (failuresInARow - OPENS_AFTER), longestRestMs);
  }

  return {
    freeSlots,
    restMs,
    tryAcquire(name) {
      if (freeSlots(name) === 0) return false;
      stateOf(name).underWay++;
      return true;
    },
    release(name, feedback) {
      const receiver = stateOf(name);
      receiver.underWay = Math.max(receiver.underWay - 1, 0);
      if (!feedback) return;
      receiver.failuresInARow = feedback.isSuccess ? 0 : receiver.failuresInARow + 1;
      const ownLengthMs = isOpen(receiver) ? feedback.tookMs : 0;
      const rest = Math.max(feedback.restMs, ownLengthMs, restAfterFailures(receiver));
      // A later failure must not shorten the rest that the receiver asked for.
      receiver.restsUntilMs = feedback.isSuccess
        ? 0
        : Math.max(receiver.restsUntilMs, clock.monotonic() + rest);
    },
    openCircuits: () => [...receivers.values()].filter(isOpen).length,
  };
}

function isOpen({ failuresInARow }: Receiver): boolean {
  return failuresInARow >= OPENS_AFTER;
}

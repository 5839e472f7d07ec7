/**
 * Whose turn it is: a receiver that hangs or fails leaves room for the others. Pure, but for the clock.
 *
 *   closed   so many attempts at once as `perReceiver`
 *   open     after `OPENS_AFTER` failures in a row: one at a time, and after each a rest of as long as it took, so that
 *            a receiver which hangs takes half a turn; one that refuses at once rests longer with each failure, up
 *            to `longestRestMs`: an attempt that fails costs more than one that does not
 *
 * One success closes the circuit.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../shared/base/clock.js';

export interface Turns {
  /** True: go, and call `end` afterwards. */
  take(receiver: string): boolean;
  /** Null: it did not go after all. */
  end(receiver: string, outcome: TurnOutcome | null): void;
  /** How many could go now. */
  free(receiver: string): number;
  /** Milliseconds for which the receiver is left alone. */
  restMs(receiver: string): number;
  /** Receivers whose circuit is open. */
  open(): number;
}

export interface TurnOutcome {
  isSuccess: boolean;
  tookMs: number;
  /** It asked to be left alone for so long. */
  restMs: number;
}

interface Receiver {
  underWay: number;
  /** In a row. */
  failures: number;
  /** By the monotonic clock. */
  restsUntilMs: number;
}

const OPENS_AFTER = 5;
/** The first rest of an open circuit is the longest ÷ this; each failure doubles it. */
const REST_GROWS = 8;
/** Receivers that are known at once; of one that is forgotten the circuit is closed. */
const KNOWN = 10_000;

export interface TurnBounds {
  /** At once. */
  perReceiver: number;
  longestRestMs: number;
}

export function createTurns(clock: Pick<Clock, 'monotonic'>, bounds: TurnBounds): Turns {
  const { perReceiver, longestRestMs } = bounds;
  const receivers = new LRUCache<string, Receiver>({ max: KNOWN });

  function known(name: string): Receiver {
    const receiver = receivers.get(name) ?? { underWay: 0, failures: 0, restsUntilMs: 0 };
    receivers.set(name, receiver);
    return receiver;
  }

  const restMs = (name: string) => Math.max(0, known(name).restsUntilMs - clock.monotonic());

  function free(name: string): number {
    if (restMs(name) > 0) return 0;
    const receiver = known(name);
    return Math.max(0, (isOpen(receiver) ? 1 : perReceiver) - receiver.underWay);
  }

  function restOf({ failures }: Receiver): number {
    if (failures < OPENS_AFTER) return 0;
    return Math.min((longestRestMs / REST_GROWS) * 2 ** (failures - OPENS_AFTER), longestRestMs);
  }

  return {
    free,
    restMs,
    take(name) {
      if (free(name) === 0) return false;
      known(name).underWay++;
      return true;
    },
    end(name, outcome) {
      const receiver = known(name);
      receiver.underWay = Math.max(receiver.underWay - 1, 0);
      if (!outcome) return;
      receiver.failures = outcome.isSuccess ? 0 : receiver.failures + 1;
      const rest = Math.max(outcome.restMs, isOpen(receiver) ? outcome.tookMs : 0, restOf(receiver));
      // Another failure does not shorten what it has asked for.
      receiver.restsUntilMs = outcome.isSuccess
        ? 0
        : Math.max(receiver.restsUntilMs, clock.monotonic() + rest);
    },
    open: () => [...receivers.values()].filter(isOpen).length,
  };
}

function isOpen({ failures }: Receiver): boolean {
  return failures >= OPENS_AFTER;
}

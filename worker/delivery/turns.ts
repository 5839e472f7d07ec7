/**
 * Whose turn it is: a receiver that hangs or fails leaves room for the others. Pure, but for the clock.
 *
 *   closed   so many attempts at once as `perReceiver`
 *   open     after `OPENS_AFTER` failures in a row: one at a time, and after each a rest of as long as it took, so
 *            that a receiver which hangs takes half a turn, and one that refuses at once is asked on schedule
 *
 * One success closes the circuit.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../shared/base/clock.js';

export interface Turns {
  /** True: go, and call `end` afterwards. */
  take(receiver: string): boolean;
  end(receiver: string, outcome: TurnOutcome): void;
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
/** Receivers that are known at once; of one that is forgotten the circuit is closed. */
const KNOWN = 10_000;

export function createTurns(clock: Pick<Clock, 'monotonic'>, perReceiver: number): Turns {
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

  return {
    free,
    restMs,
    take(name) {
      if (free(name) === 0) return false;
      known(name).underWay++;
      return true;
    },
    end(name, { isSuccess, tookMs, restMs }) {
      const receiver = known(name);
      receiver.underWay = Math.max(receiver.underWay - 1, 0);
      receiver.failures = isSuccess ? 0 : receiver.failures + 1;
      const rest = Math.max(restMs, isOpen(receiver) ? tookMs : 0);
      receiver.restsUntilMs = isSuccess ? 0 : clock.monotonic() + rest;
    },
    open: () => [...receivers.values()].filter(isOpen).length,
  };
}

function isOpen({ failures }: Receiver): boolean {
  return failures >= OPENS_AFTER;
}

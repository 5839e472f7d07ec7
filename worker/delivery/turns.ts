/**
 * Whose turn it is: a receiver that hangs or fails leaves room for the others. Pure, but for the clock.
 *
 *   closed   so many attempts at once as `perReceiver`
 *   open     after `OPENS_AFTER` failures in a row: one at a time, and after each a rest of as long as it took, so
 *            that a receiver which hangs takes half a turn, and one that refuses at once is asked on schedule
 *
 * One success closes the circuit. Who finds a receiver busy or resting comes back later and is no attempt; the more were
 * turned away since an attempt to it ended, the later, so that however many wait, they ask 50 times a second in all.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../shared/base/clock.js';

export interface Turns {
  /** Null: go, and call `end` afterwards. Else: come back after so many milliseconds. */
  take(receiver: string): number | null;
  end(receiver: string, outcome: TurnOutcome): void;
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
  turnedAway: number;
  /** In a row. */
  failures: number;
  /** By the monotonic clock. */
  restsUntilMs: number;
}

const OPENS_AFTER = 5;
const STEP_MS = 20;
const LONGEST_MS = 600_000;
/** Receivers that are known at once; of one that is forgotten the circuit is closed. */
const KNOWN = 10_000;

export function createTurns(clock: Pick<Clock, 'monotonic'>, perReceiver: number): Turns {
  const receivers = new LRUCache<string, Receiver>({ max: KNOWN });

  function known(name: string): Receiver {
    const receiver = receivers.get(name) ?? { underWay: 0, turnedAway: 0, failures: 0, restsUntilMs: 0 };
    receivers.set(name, receiver);
    return receiver;
  }

  return {
    take(name) {
      const receiver = known(name);
      const restMs = receiver.restsUntilMs - clock.monotonic();
      const isFree = receiver.underWay < (isOpen(receiver) ? 1 : perReceiver);
      if (isFree && restMs <= 0) {
        receiver.underWay++;
        return null;
      }
      return Math.max(restMs, Math.min(++receiver.turnedAway * STEP_MS, LONGEST_MS));
    },
    end(name, { isSuccess, tookMs, restMs }) {
      const receiver = known(name);
      receiver.underWay = Math.max(receiver.underWay - 1, 0);
      receiver.turnedAway = 0;
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

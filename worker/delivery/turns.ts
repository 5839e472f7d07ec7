/**
 * Whose turn it is: a receiver that hangs or fails leaves room for the others. Pure, but for the clock.
 *
 *   closed   so many attempts at once as `perReceiver`
 *   open     after `OPENS_AFTER` failures in a row: one at a time, and after each a rest of as long as it took, so
 *            that a receiver which hangs takes half a turn, and one that refuses at once is asked on schedule
 *
 * One success closes the circuit. Who finds a receiver busy or resting comes back later and is no attempt. Those are given
 * places in a line that moves as fast as the receiver has answered lately, so that they come back when it is their turn;
 * however long the line, they are 100 a second at most, and within the 15 s that an attempt takes at most, where they can be.
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

/** Times by the monotonic clock. */
interface Receiver {
  underWay: number;
  /** In a row. */
  failures: number;
  restsUntilMs: number;
  /** How long an attempt has taken lately. */
  tookMs: number;
  /** When the last place in the line comes up. */
  lineEndsMs: number;
}

const OPENS_AFTER = 5;
/** What an attempt is thought to take before there was one. */
const USUAL_MS = 100;
/** Weight of the newest attempt in what attempts take lately. */
const NEWEST = 0.2;
const SOONEST_MS = 20;
const LATEST_MS = 15_000;
/** In a line so long that it would all come back sooner, each place is so far from the next. */
const APART_MS = 10;
/** Receivers that are known at once; of one that is forgotten the circuit is closed. */
const KNOWN = 10_000;

export function createTurns(clock: Pick<Clock, 'monotonic'>, perReceiver: number): Turns {
  const receivers = new LRUCache<string, Receiver>({ max: KNOWN });

  function known(name: string): Receiver {
    const receiver = receivers.get(name) ?? {
      underWay: 0,
      failures: 0,
      restsUntilMs: 0,
      tookMs: USUAL_MS,
      lineEndsMs: 0,
    };
    receivers.set(name, receiver);
    return receiver;
  }

  /** Time between two attempts of a receiver that has all it can take. */
  function paceOf(receiver: Receiver): number {
    return isOpen(receiver) ? 2 * receiver.tookMs : receiver.tookMs / perReceiver;
  }

  /** Takes a place in the line: after how long it comes up. */
  function lineUp(receiver: Receiver, nowMs: number): number {
    const paceMs = paceOf(receiver);
    receiver.lineEndsMs = Math.max(receiver.lineEndsMs, receiver.restsUntilMs, nowMs) + paceMs;
    const waitMs = receiver.lineEndsMs - nowMs;
    const latestMs = Math.max(LATEST_MS, (waitMs / paceMs) * APART_MS);
    return Math.max(Math.min(waitMs, latestMs), receiver.restsUntilMs - nowMs, SOONEST_MS);
  }

  return {
    take(name) {
      const receiver = known(name);
      const nowMs = clock.monotonic();
      const turns = isOpen(receiver) ? 1 : perReceiver;
      if (receiver.underWay >= turns || nowMs < receiver.restsUntilMs) return lineUp(receiver, nowMs);
      receiver.underWay++;
      return null;
    },
    end(name, { isSuccess, tookMs, restMs }) {
      const receiver = known(name);
      const nowMs = clock.monotonic();
      receiver.underWay = Math.max(receiver.underWay - 1, 0);
      receiver.tookMs += NEWEST * (tookMs - receiver.tookMs);
      // Who failed for long and answers now has its whole line come up anew.
      if (isSuccess && isOpen(receiver)) receiver.lineEndsMs = nowMs;
      receiver.failures = isSuccess ? 0 : receiver.failures + 1;
      const rest = Math.max(restMs, isOpen(receiver) ? tookMs : 0);
      receiver.restsUntilMs = isSuccess ? 0 : nowMs + rest;
    },
    open: () => [...receivers.values()].filter(isOpen).length,
  };
}

function isOpen({ failures }: Receiver): boolean {
  return failures >= OPENS_AFTER;
}

/**
 * Delay queue: deliveries that wait in this process, for a time or for a free slot of their receiver.
 *
 *   waits for a time       its next attempt is at most `MAX_DELAY_MS` away; then `whenDue` is called
 *   waits for a receiver   the circuit breaker has no slot; `whenFree` is called in the order of arrival, once for each slot
 *
 * A delivery that waits here costs no place in BullMQ and no poll. Nothing is lost when the process dies: the delivery is
 * pending in Redis, and the due index finds it.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { CircuitBreaker } from './circuit-breaker.js';

/** Half of the time after which the due index looks for a delivery. */
const MAX_DELAY_MS = 10_000;
/** Bounds memory. A delivery that finds no room waits in BullMQ. */
const MAX_WAITING = 100_000;

export interface DelayQueue {
  /** Lets a delivery wait for `delayMs`; a second call replaces the first. False when the delay is too long or there is no room. */
  waitForTime(id: string, delayMs: number): boolean;
  /** Lets a delivery wait for a free slot; it waits once however often it is added. False when there is no room. */
  waitForReceiver(id: string, receiver: string): boolean;
  /** Begins as many deliveries as the receiver has free slots, now or after its rest. Call it when an attempt has ended. */
  beginNext(receiver: string): void;
  /** The number of deliveries that wait for a receiver. */
  readonly waitingForReceivers: number;
  /** Ends the waiting, and returns the ids of all that waited. */
  close(): string[];
}

export interface DelayQueueDeps {
  clock: Pick<Clock, 'after'>;
  breaker: Pick<CircuitBreaker, 'freeSlots' | 'restMs'>;
  whenDue: (id: string) => void;
  /** Resolves when the delivery needs its slot no more, even if it never took one; must not reject. */
  whenFree: (id: string) => Promise<void>;
}

/** Returns an empty delay queue. */
export function createDelayQueue({ clock, breaker, whenDue, whenFree }: DelayQueueDeps): DelayQueue {
  /** The function that cancels the timer of each delivery that waits for a time. */
  const timers = new Map<string, () => void>();
  /** The deliveries that wait for each receiver, in the order of arrival. */
  const waitingByReceiver = new Map<string, Set<string>>();
  /** The function that cancels the timer of each receiver that rests. */
  const rests = new Map<string, () => void>();
  let waitingForReceivers = 0;
  let isClosed = false;

  const hasRoom = () => !isClosed && timers.size + waitingForReceivers < MAX_WAITING;

  function waitForTime(id: string, delayMs: number): boolean {
    if (delayMs > MAX_DELAY_MS || !hasRoom()) return false;
    timers.get(id)?.();
    const cancel = clock.after(delayMs, () => {
      timers.delete(id);
      whenDue(id);
    });
    timers.set(id, cancel);
    return true;
  }

  function waitForReceiver(id: string, receiver: string): boolean {
    const waiting = waitingByReceiver.get(receiver) ?? new Set();
    if (!waiting.has(id)) {
      if (!hasRoom()) return false;
      waitingByReceiver.set(receiver, waiting.add(id));
      waitingForReceivers++;
    }
    // The receiver may rest, or may have rested, while no attempt runs whose end would call this.
    beginNext(receiver);
    return true;
  }

  function beginNext(receiver: string): void {
    const waiting = waitingByReceiver.get(receiver);
    if (!waiting || isClosed) return;
    beginAfterRest(receiver);
    for (const id of [...take(waiting, breaker.freeSlots(receiver))]) {
      void whenFree(id).finally(() => beginNext(receiver));
    }
    if (waiting.size === 0) waitingByReceiver.delete(receiver);
  }

  function* take(waiting: Set<string>, count: number): Iterable<string> {
    let left = count;
    for (const id of waiting) {
      if (left-- <= 0) return;
      waiting.delete(id);
      waitingForReceivers--;
      yield id;
    }
  }

  function beginAfterRest(receiver: string): void {
    const restMs = breaker.restMs(receiver);
    if (restMs <= 0 || rests.has(receiver)) return;
    const cancel = clock.after(Math.ceil(restMs), () => {
      rests.delete(receiver);
      beginNext(receiver);
    });
    rests.set(receiver, cancel);
  }

  return {
    waitForTime,
    waitForReceiver,
    beginNext,
    get waitingForReceivers() {
      return waitingForReceivers;
    },
    close() {
      isClosed = true;
      for (const cancel of [...timers.values(), ...rests.values()]) cancel();
      const waited = [
        ...timers.keys(),
        ...[...waitingByReceiver.values()].flatMap((waiting) => [...waiting]),
      ];
      timers.clear();
      waitingByReceiver.clear();
      waitingForReceivers = 0;
      return waited;
    },
  };
}

/**
 * Dispatcher: begins the attempts of pending deliveries, and decides where a delivery waits until its next one.
 *
 *   first attempt                                  begins at once
 *   next attempt is due soon, or receiver busy     waits in this process, in the delay queue
 *   next attempt is due later, or no room here     waits in BullMQ, where any process takes it
 *
 * Nothing rests on this process. A delivery stands in Redis before it comes here, and the due index finds it if we die.
 */
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import type { Attempts } from './attempts.js';
import type { CircuitBreaker } from './circuit-breaker.js';
import { createDelayQueue } from './delay-queue.js';
import { receiverOf } from './recipients.js';

/** Attempts that this process begins by itself, beside those that BullMQ hands to it. Beyond them, BullMQ takes the rest. */
const MAX_RUNNING = 500;
/** The time that closing grants to attempts under way. An attempt that is cut then does not count and is made again. */
const CLOSE_GRACE_MS = 3000;
/**
 * A delivery may wait for its receiver this long, plus `WAIT_SPACING_MS` for each that waits, before the due index counts it as lost.
 * The index thus looks for at most a hundred of them a second.
 */
const RECEIVER_WAIT_MS = 30_000;
const WAIT_SPACING_MS = 10;
/** BullMQ holds a delivery for this time when its receiver is busy and the delay queue is full. */
const FULL_RETRY_MS = 60_000;

export interface DispatcherDeps {
  attempts: Attempts;
  breaker: Pick<CircuitBreaker, 'freeSlots' | 'restMs'>;
  deliveries: Pick<Deliveries, 'get' | 'postpone' | 'recall'>;
  clock: Clock;
  /** Has BullMQ hand out the delivery at `dueAt`, in milliseconds since the Unix epoch. */
  enqueue: (id: string, dueAt: number) => Promise<void>;
  onError: (kind: string, error: unknown) => void;
}

export interface Dispatcher {
  /** Begins the first attempt of a new delivery. Returns at once and never throws. */
  start(delivery: Delivery): void;
  /** Gives BullMQ a delivery that an earlier process has made. Returns at once and never throws. */
  resume(id: string): void;
  /**
   * Attempts a delivery that BullMQ has handed out. Resolves with the time at which BullMQ is to hand it out again, in
   * milliseconds since the Unix epoch; null when BullMQ may forget it. Rejects when Redis fails.
   */
  consume(delivery: Delivery): Promise<number | null>;
  /** Cuts attempts after `CLOSE_GRACE_MS`, and leaves the deliveries that wait here to other processes. */
  close(): Promise<void>;
  /** Resolves when nothing that this process began by itself is under way. */
  ended(): Promise<void>;
}

/** Returns the dispatcher of this process. */
export function createDispatcher(deps: DispatcherDeps): Dispatcher {
  const { attempts, breaker, deliveries, clock, enqueue, onError } = deps;
  const queue = createDelayQueue({
    clock,
    breaker,
    whenDue: (id) => beginIfRoom(() => beginById(id), id, clock.now()),
    // The circuit breaker bounds these. In BullMQ they would only find their receiver busy again.
    whenFree: (id) => begin(() => beginById(id)),
  });
  /** Promises that never reject. */
  const underWay = new Set<Promise<void>>();
  let running = 0;
  let isClosing = false;
  const cut = new AbortController();
  // Each attempt under way listens, so the usual warning about many listeners does not apply.
  setMaxListeners(0, cut.signal);

  function beginIfRoom(act: () => Promise<void>, id: string, dueAt: number): void {
    if (running < MAX_RUNNING) void begin(act);
    else void track(enqueue(id, dueAt).catch(report));
  }

  function begin(act: () => Promise<void>): Promise<void> {
    running++;
    return track(act().finally(() => running--));
  }

  function track(acting: Promise<void>): Promise<void> {
    underWay.add(acting);
    return acting.finally(() => underWay.delete(acting));
  }

  /** If the read fails, the due index finds the delivery. */
  async function beginById(id: string): Promise<void> {
    try {
      const delivery = await deliveries.get(id);
      if (delivery?.status === 'pending') await attemptHere(delivery);
    } catch (error) {
      report(error);
    }
  }

  /** Never rejects. */
  async function attemptHere(delivery: Delivery): Promise<void> {
    try {
      const dueAt = await attempt(delivery);
      if (dueAt === null || queue.waitForTime(delivery.id, dueAt - clock.now())) return;
      await enqueue(delivery.id, dueAt);
    } catch (error) {
      if (cut.signal.aborted) await deliveries.recall(delivery.id).catch(report);
      else report(error);
    }
  }

  async function attempt(delivery: Delivery): Promise<number | null> {
    const receiver = receiverOf(delivery);
    const after = await attempts.attempt(delivery, cut.signal).finally(() => queue.beginNext(receiver));
    return after === 'busy' ? waitForReceiver(delivery.id, receiver) : after;
  }

  async function waitForReceiver(id: string, receiver: string): Promise<number | null> {
    // Other processes can take it at once.
    if (isClosing) return clock.now();
    if (queue.waitForReceiver(id, receiver)) {
      const spacingMs = queue.waitingForReceivers * WAIT_SPACING_MS;
      await deliveries.postpone(id, clock.now() + RECEIVER_WAIT_MS + spacingMs);
      return null;
    }
    await deliveries.postpone(id, clock.now() + FULL_RETRY_MS);
    return clock.now() + FULL_RETRY_MS;
  }

  function report(error: unknown): void {
    onError('delivery', error);
  }

  return {
    start: (delivery) => beginIfRoom(() => attemptHere(delivery), delivery.id, delivery.nextAt),
    resume: (id) => void track(enqueue(id, 0).catch(report)),
    consume: (delivery) =>
      attempt(delivery).catch((error: unknown) => {
        if (!cut.signal.aborted) throw error;
        return clock.now();
      }),
    async close() {
      isClosing = true;
      clock.after(CLOSE_GRACE_MS, () => cut.abort(new Error('closing')));
      await Promise.all(queue.close().map((id) => deliveries.recall(id)));
    },
    async ended() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

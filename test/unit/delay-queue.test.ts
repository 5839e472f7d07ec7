/** The delay queue: deliveries that wait in the process for a time or for a slot of their receiver. */
import { describe, expect, it } from 'vitest';
import { type AttemptFeedback, createCircuitBreaker } from '../../worker/delivery/circuit-breaker.js';
import { createDelayQueue } from '../../worker/delivery/delay-queue.js';
import { createManualClock } from '../support/manual-clock.js';

const SUCCESS: AttemptFeedback = { isSuccess: true, tookMs: 10, restMs: 0 };
const HANGS: AttemptFeedback = { isSuccess: false, tookMs: 15_000, restMs: 0 };

/** Returns a queue before the receiver `a`; its deliveries take a slot as soon as they may. */
function open(slotsPerReceiver = 1) {
  const clock = createManualClock();
  const breaker = createCircuitBreaker(clock, { slotsPerReceiver, longestRestMs: 1000 });
  const due: string[] = [];
  const begun: string[] = [];
  const queue = createDelayQueue({
    clock,
    breaker,
    whenDue: (id) => void due.push(id),
    async whenFree(id) {
      if (breaker.tryAcquire('a')) begun.push(id);
    },
  });
  const end = (feedback: AttemptFeedback) => {
    breaker.release('a', feedback);
    queue.beginNext('a');
  };
  return { clock, breaker, due, begun, queue, end };
}

describe('waiting for a time', () => {
  it('holds a delivery that is due soon, once, and refuses one that is due later', async () => {
    const { clock, due, queue } = open();
    expect([queue.waitForTime('1', 5000), queue.waitForTime('2', 300_000)]).toEqual([true, false]);
    queue.waitForTime('1', 6000);
    await clock.advance(5999);
    expect(due).toEqual([]);
    await clock.advance(1);
    expect(due).toEqual(['1']);
  });

  it('returns what waited when it is closed, and lets nothing begin after that', async () => {
    const { clock, due, queue } = open();
    queue.waitForTime('1', 5000);
    expect(queue.close()).toEqual(['1']);
    expect(queue.waitForTime('2', 5000)).toBe(false);
    await clock.advance(60_000);
    expect(due).toEqual([]);
  });
});

describe('waiting for a receiver', () => {
  it('begins deliveries in their order, one for each slot, each once', () => {
    const { breaker, begun, queue, end } = open();
    breaker.tryAcquire('a');
    for (const id of ['1', '2', '3', '2']) expect(queue.waitForReceiver(id, 'a')).toBe(true);
    expect(queue.waitingForReceivers).toBe(3);
    end(SUCCESS);
    expect(begun).toEqual(['1']);
    end(SUCCESS);
    end(SUCCESS);
    end(SUCCESS);
    expect([begun, queue.waitingForReceivers]).toEqual([['1', '2', '3'], 0]);
  });

  it('waits while the receiver rests, and begins as many as there are slots once it answers', async () => {
    const { clock, breaker, begun, queue, end } = open(2);
    for (let i = 0; i < 5; i++) {
      breaker.tryAcquire('a');
      end(HANGS);
    }
    for (const id of ['1', '2', '3']) queue.waitForReceiver(id, 'a');
    await clock.advance(14_999);
    expect(begun).toEqual([]);
    await clock.advance(1);
    expect(begun).toEqual(['1']);
    end(SUCCESS);
    expect(begun).toEqual(['1', '2', '3']);
    expect(breaker.freeSlots('a')).toBe(0);
  });

  it('begins the next delivery when one needs its slot no more', async () => {
    const clock = createManualClock();
    const breaker = createCircuitBreaker(clock, { slotsPerReceiver: 1, longestRestMs: 1000 });
    const begun: string[] = [];
    const queue = createDelayQueue({
      clock,
      breaker,
      whenDue: () => undefined,
      // The delivery has ended meanwhile, so it takes no slot.
      whenFree: async (id) => void begun.push(id),
    });
    breaker.tryAcquire('a');
    for (const id of ['1', '2', '3']) queue.waitForReceiver(id, 'a');
    breaker.release('a', SUCCESS);
    queue.beginNext('a');
    await clock.advance(0);
    expect(begun).toEqual(['1', '2', '3']);
  });

  it('returns what waited when it is closed, and takes no more', () => {
    const { breaker, begun, queue, end } = open();
    breaker.tryAcquire('a');
    queue.waitForReceiver('1', 'a');
    expect(queue.close()).toEqual(['1']);
    end(SUCCESS);
    expect([begun, queue.waitForReceiver('2', 'a')]).toEqual([[], false]);
  });
});

it('has one bound for all that wait', () => {
  const { breaker, queue } = open();
  breaker.tryAcquire('a');
  const taken = Array.from({ length: 50_000 }, (_, nth) => [
    queue.waitForTime(`t${nth}`, 5000),
    queue.waitForReceiver(`r${nth}`, 'a'),
  ]);
  expect(taken.flat().every(Boolean)).toBe(true);
  expect([queue.waitForTime('t', 5000), queue.waitForReceiver('r', 'a')]).toEqual([false, false]);
  expect(queue.waitForReceiver('r0', 'a'), 'what waits already').toBe(true);
});

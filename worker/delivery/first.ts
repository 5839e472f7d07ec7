/**
 * First attempts: made at once by whoever relays the event, while there is room; the queue is for what comes later.
 *
 * Nothing rests on this process: a delivery stands in Redis before it comes here, and the agenda finds it if we die with it.
 */
import type { Queue } from 'bullmq';
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/delivery.js';
import { WEBHOOK_OPTIONS } from '../../shared/queue/catalog.js';
import type { Attempts } from './attempts.js';

/** Beyond so many at once they go through the queue, where other processes find them, too. */
const AT_ONCE = 250;

export interface FirstAttempts {
  /** Returns at once. */
  begin(delivery: Delivery): void;
  /** Puts a delivery that is known already where it would be. */
  enqueue(id: string, dueAt?: number): void;
  /** Resolves when none is under way. */
  close(): Promise<void>;
}

export interface FirstAttemptsDeps {
  queue: Queue;
  attempts: Pick<Attempts, 'attend'>;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

export function createFirstAttempts({ queue, attempts, clock, onError }: FirstAttemptsDeps): FirstAttempts {
  const underWay = new Set<Promise<void>>();
  let attended = 0;

  function keep(act: () => Promise<void>): void {
    const acting = act()
      .catch((error: unknown) => onError('delivery', error))
      .finally(() => underWay.delete(acting));
    underWay.add(acting);
  }

  async function add(id: string, dueAt: number): Promise<void> {
    const delay = Math.max(0, Math.ceil(dueAt - clock.now()));
    await queue.add('delivery', null, { ...WEBHOOK_OPTIONS, jobId: id, delay });
  }

  async function attend(delivery: Delivery): Promise<void> {
    attended++;
    const dueAt = await attempts.attend(delivery).finally(() => attended--);
    if (dueAt !== null) await add(delivery.id, dueAt);
  }

  return {
    begin(delivery) {
      keep(() => (attended < AT_ONCE ? attend(delivery) : add(delivery.id, delivery.nextAt)));
    },
    enqueue(id, dueAt = 0) {
      keep(() => add(id, dueAt));
    },
    async close() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

/**
 * First attempts: made at once by whoever relays the event, while there is room; the queue is for what comes later.
 *
 * Nothing rests on this process: a delivery stands in Redis before it comes here, and the agenda finds it if we die with it.
 */
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import type { Attempts, AttemptsDeps } from './attempts.js';

/** Beyond so many at once they go through the queue, where other processes find them, too. */
const AT_ONCE = 250;

export interface FirstAttempts {
  /** Returns at once. */
  begin(delivery: Delivery): void;
  /** Of a delivery that was made before: the queue finds out what is to be done. */
  resume(id: string): void;
  /** Resolves when none is under way. */
  close(): Promise<void>;
}

export interface FirstAttemptsDeps {
  enqueue: AttemptsDeps['enqueue'];
  attempts: Pick<Attempts, 'begin'>;
  onError: (kind: string, error: unknown) => void;
}

export function createFirstAttempts({ enqueue, attempts, onError }: FirstAttemptsDeps): FirstAttempts {
  const underWay = new Set<Promise<void>>();
  let attended = 0;

  function keep(act: () => Promise<void>): void {
    const acting = act()
      .catch((error: unknown) => onError('delivery', error))
      .finally(() => underWay.delete(acting));
    underWay.add(acting);
  }

  async function attend(delivery: Delivery): Promise<void> {
    attended++;
    await attempts.begin(delivery).finally(() => attended--);
  }

  return {
    begin(delivery) {
      keep(() => (attended < AT_ONCE ? attend(delivery) : enqueue(delivery.id, delivery.nextAt)));
    },
    resume(id) {
      keep(() => enqueue(id, 0));
    },
    async close() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

/**
 * Requeue: gives BullMQ the pending deliveries that it should have and has not, twice a second.
 *
 * These are replayed deliveries, deliveries that were held for an endpoint which is enabled again, and deliveries that BullMQ
 * or a process has lost.
 */
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import type { WebhookQueue } from '../../shared/queue/queues.js';

const PERIOD_MS = 500;

export interface RequeueDeps {
  queue: Pick<WebhookQueue, 'addNow'>;
  deliveries: Pick<Deliveries, 'overdue' | 'release'>;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

/** Starts to requeue; `close` resolves when the last round has ended. Errors go to `onError`, and the next round tries again. */
export function startRequeue({ queue, deliveries, clock, onError }: RequeueDeps): { close(): Promise<void> } {
  const stop = new AbortController();

  async function requeue(): Promise<void> {
    const ids = await Promise.all([deliveries.overdue(), deliveries.release()]);
    await Promise.all(ids.flat().map(queue.addNow));
  }

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      await requeue().catch((error: unknown) => onError('requeue', error));
      await sleep(clock, PERIOD_MS, stop.signal);
    }
  }

  const ended = run();
  return {
    close() {
      stop.abort();
      return ended;
    },
  };
}

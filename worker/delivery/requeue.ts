/**
 * Recall: gives the queue what it should have and has not, twice a second.
 *
 * Deliveries that are replayed, those that were held for an endpoint which is enabled again, and what the queue has lost: the
 * records tell, the queue is told once more. One that it has is only woken, if it sleeps past its time.
 */
import type { Queue } from 'bullmq';
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import { WEBHOOK_OPTIONS } from '../../shared/queue/catalog.js';

const PERIOD_MS = 500;

export interface RecallDeps {
  queue: Queue;
  deliveries: Deliveries;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

export function startRecall({ queue, deliveries, clock, onError }: RecallDeps): { close(): Promise<void> } {
  const stop = new AbortController();

  async function recall(): Promise<void> {
    const ids = await Promise.all([deliveries.overdue(), deliveries.release()]);
    await Promise.all(ids.flat().map(enqueue));
  }

  async function enqueue(id: string): Promise<void> {
    const job = await queue.add('delivery', null, { ...WEBHOOK_OPTIONS, jobId: id });
    // Not delayed: it is waiting or at work already.
    if (await job.isDelayed()) await job.promote().catch(() => undefined);
  }

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      await recall().catch((error: unknown) => onError('recall', error));
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

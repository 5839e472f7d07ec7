/**
 * The `webhooks` queue -> attempts.
 *
 * For each id: read the delivery; if it is due, sign it afresh, send it, write down what came of it, and hand the id back
 * to the queue with a delay if another attempt follows. Killed anywhere, the queue gives the id to somebody else; the
 * record tells whether an attempt is due, so an attempt may happen twice (with the same id), but none is lost or early.
 */
import { setMaxListeners } from 'node:events';
import { DelayedError, type Job, Worker } from 'bullmq';
import type { Clock } from '../../shared/base/clock.js';
import type { Redis } from '../../shared/base/redis.js';
import type { Delivery } from '../../shared/contract/delivery.js';
import { sign } from '../../shared/contract/signing.js';
import type { Deliveries } from '../../shared/core/deliveries.js';
import { WEBHOOKS_QUEUE, WORKER_OPTIONS } from '../../shared/queue/catalog.js';
import type { AttemptOutcome, DeliveryMetrics } from './metrics.js';
import type { FindRecipient, Recipient } from './recipients.js';
import { isSuccess, judge, restAsked, type Schedule } from './schedule.js';
import type { Sender } from './send.js';
import type { Turns } from './turns.js';

/** Attempts at once; an attempt is waiting for the receiver, almost all of its time. */
const CONCURRENCY = 500;
/** What closing grants to attempts under way; those cut then are not counted and made again. */
export const CLOSE_GRACE_MS = 3000;

export interface ConsumerDeps {
  redis: Redis;
  prefix: string;
  deliveries: Deliveries;
  findRecipient: FindRecipient;
  sender: Sender;
  turns: Turns;
  clock: Clock;
  schedule: Schedule;
  metrics: DeliveryMetrics;
  onError: (kind: string, error: unknown) => void;
}

export function startConsumer(deps: ConsumerDeps): { close(): Promise<void> } {
  const { redis, prefix, deliveries, findRecipient, sender, turns, clock, schedule, metrics, onError } = deps;
  const cut = new AbortController();
  // Each attempt under way listens.
  setMaxListeners(CONCURRENCY + 1, cut.signal);

  /** When the queue is to hand the delivery out again, milliseconds since the Unix epoch; null when that is not its business. */
  async function attend(delivery: Delivery): Promise<number | null> {
    if (delivery.nextAt > clock.now()) return delivery.nextAt;
    const recipient = await findRecipient(delivery);
    if (!recipient) {
      await deliveries.discard(delivery.id);
      return null;
    }
    if (!recipient.enabled) {
      const isHeld = delivery.endpoint !== null && (await deliveries.hold(delivery.id, delivery.endpoint));
      return isHeld ? null : clock.now();
    }
    const comeBackMs = turns.take(recipient.receiver);
    if (comeBackMs === null) return attempt(delivery, recipient);
    await deliveries.postpone(delivery.id, Math.ceil(clock.now() + comeBackMs));
    return clock.now() + comeBackMs;
  }

  async function attempt(delivery: Delivery, { url, secrets, receiver }: Recipient): Promise<number | null> {
    const turn = { isSuccess: false, tookMs: 0, restMs: 0 };
    try {
      if (delivery.attempts === 0) metrics.firstAttempt((clock.now() - delivery.at) / 1000);
      const headers = sign(secrets, delivery.id, Math.floor(clock.now() / 1000), delivery.body);
      const { attempt: made, retryAfter } = await sender.send(url, headers, delivery.body, cut.signal);
      const outcome = { status: made.status, retryAfter };
      const now = clock.now();
      turn.isSuccess = isSuccess(outcome);
      turn.tookMs = made.latencyMs;
      turn.restMs = restAsked(outcome, now);
      const verdict = judge(outcome, delivery, now, schedule);
      const nextAt = Math.ceil(verdict.status === 'pending' ? now + verdict.delayMs : now);
      const recorded = await deliveries.record(
        delivery,
        made,
        verdict.status,
        nextAt,
        schedule.disableAfterMs,
      );
      if (!recorded) return null;
      metrics.attempted(outcomeOf(verdict.status));
      if (recorded.disabled) metrics.disabled(recorded.disabled);
      return recorded.status === 'pending' ? nextAt : null;
    } finally {
      turns.end(receiver, turn);
    }
  }

  async function consume(job: Job, token: string | undefined): Promise<void> {
    const delivery = await deliveries.get(String(job.id));
    // Gone or ended: an attempt whose end the queue was not told.
    if (delivery?.status !== 'pending') return;
    const dueAt = await attend(delivery).catch((error: unknown) => {
      if (!cut.signal.aborted) throw error;
      return clock.now();
    });
    if (dueAt === null) return;
    await job.moveToDelayed(Math.ceil(dueAt), token);
    throw new DelayedError();
  }

  const worker = new Worker(WEBHOOKS_QUEUE, consume, {
    ...WORKER_OPTIONS,
    connection: redis,
    prefix,
    concurrency: CONCURRENCY,
  });
  worker.on('error', (error) => onError('webhooks queue', error));
  worker.on('failed', (_, error) => onError('delivery', error));

  return {
    async close() {
      const cancel = clock.after(CLOSE_GRACE_MS, () => cut.abort(new Error('closing')));
      await worker.close();
      cancel();
    },
  };
}

function outcomeOf(status: Delivery['status']): AttemptOutcome {
  return status === 'pending' ? 'retried' : status;
}

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
import { sign } from '../../shared/contract/signing.js';
import type { Delivery, Webhooks } from '../../shared/core/webhooks.js';
import { WEBHOOKS_QUEUE, WORKER_OPTIONS } from '../../shared/queue/catalog.js';
import type { DeliveryMetrics } from './metrics.js';
import { judge, type Schedule, type Verdict } from './schedule.js';
import type { Sender } from './send.js';
import { createTurns } from './turns.js';

/** Attempts at once; most of an attempt is waiting for the receiver. */
const CONCURRENCY = 100;
/** Of these to one origin. */
const PER_ORIGIN = 10;
/** What closing grants to attempts under way; those cut then are not counted and made again. */
export const CLOSE_GRACE_MS = 3000;

export interface ConsumerDeps {
  redis: Redis;
  prefix: string;
  webhooks: Webhooks;
  sender: Sender;
  clock: Clock;
  schedule: Schedule;
  metrics: DeliveryMetrics;
  onError: (kind: string, error: unknown) => void;
}

export function startConsumer(deps: ConsumerDeps): { close(): Promise<void> } {
  const { redis, prefix, webhooks, sender, clock, schedule, metrics, onError } = deps;
  const cut = new AbortController();
  const turns = createTurns(PER_ORIGIN);
  // Each attempt under way listens.
  setMaxListeners(CONCURRENCY + 1, cut.signal);

  /** Milliseconds since the Unix epoch at which the delivery is due again; null when it has ended. */
  async function attemptInTurn(delivery: Delivery): Promise<number | null> {
    if (delivery.nextAt > clock.now()) return delivery.nextAt;
    const { origin } = new URL(delivery.url);
    const comeBackMs = turns.take(origin);
    if (comeBackMs !== null) return clock.now() + comeBackMs;
    try {
      return await attempt(delivery);
    } finally {
      turns.end(origin);
    }
  }

  async function attempt(delivery: Delivery): Promise<number | null> {
    if (delivery.attempts === 0) metrics.firstAttempt((clock.now() - delivery.at) / 1000);
    const secret = await webhooks.signingSecret(delivery.tenant);
    const headers = sign([secret], delivery.id, Math.floor(clock.now() / 1000), delivery.body);
    const { attempt, retryAfter } = await sender.send(delivery.url, headers, delivery.body, cut.signal);
    const now = clock.now();
    const outcome = { status: attempt.status, retryAfter };
    const verdict = judge(outcome, delivery.attempts + 1, now, schedule);
    const nextAt = verdict.state === 'pending' ? now + verdict.delayMs : now;
    const recorded = await webhooks.recordAttempt(delivery.id, attempt, verdict.state, Math.ceil(nextAt));
    if (recorded) metrics.attempted(outcomeOf(verdict));
    return recorded && verdict.state === 'pending' ? nextAt : null;
  }

  async function consume(job: Job, token: string | undefined): Promise<void> {
    const delivery = await webhooks.getDelivery(String(job.id));
    // Gone or ended: an attempt whose end the queue was not told.
    if (delivery?.state !== 'pending') return;
    const dueAt = await attemptInTurn(delivery).catch((error: unknown) => {
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

function outcomeOf(verdict: Verdict): 'delivered' | 'retried' | 'failed' {
  return verdict.state === 'pending' ? 'retried' : verdict.state;
}

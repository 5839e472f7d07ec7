/**
 * Attempts: a delivery that may be due -> what came of it, in the record and for who asked.
 *
 * If it is due and its receiver has a turn: sign it afresh, send it, write down what came of it. Killed anywhere, the
 * record tells whether an attempt is due, so an attempt may happen twice (with the same id), but none is lost or early.
 */
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/delivery.js';
import { sign } from '../../shared/contract/signing.js';
import type { Deliveries } from '../../shared/core/deliveries.js';
import type { AttemptOutcome, DeliveryMetrics } from './metrics.js';
import type { FindRecipient, Recipient } from './recipients.js';
import { isSuccess, judge, restAsked, type Schedule } from './schedule.js';
import type { Sender } from './send.js';
import type { Turns } from './turns.js';

/** What closing grants to attempts under way; those cut then are not counted and made again. */
export const CLOSE_GRACE_MS = 3000;

export interface AttemptsDeps {
  deliveries: Deliveries;
  findRecipient: FindRecipient;
  sender: Sender;
  turns: Turns;
  clock: Clock;
  schedule: Schedule;
  metrics: DeliveryMetrics;
}

export interface Attempts {
  /** When the queue is to hand the delivery out (again), milliseconds since the Unix epoch; null: never. */
  attend(delivery: Delivery): Promise<number | null>;
  /** From now on attempts under way have `CLOSE_GRACE_MS` left. */
  close(): void;
}

export function createAttempts(deps: AttemptsDeps): Attempts {
  const { deliveries, findRecipient, sender, turns, clock, schedule, metrics } = deps;
  const cut = new AbortController();
  // Each attempt under way listens.
  setMaxListeners(0, cut.signal);

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
    const backAt = Math.ceil(clock.now() + comeBackMs);
    await deliveries.postpone(delivery.id, backAt);
    return backAt;
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

  return {
    attend: (delivery) =>
      attend(delivery).catch((error: unknown) => {
        if (!cut.signal.aborted) throw error;
        return clock.now();
      }),
    close() {
      clock.after(CLOSE_GRACE_MS, () => cut.abort(new Error('closing')));
    },
  };
}

function outcomeOf(status: Delivery['status']): AttemptOutcome {
  return status === 'pending' ? 'retried' : status;
}

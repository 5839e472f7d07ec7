/**
 * One attempt of a delivery: find the recipient, sign, send, record.
 *
 * The record in Redis tells whether an attempt is due. A process that dies anywhere here may cause a second attempt under the
 * same id, but never a lost or an early one.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { sign } from '../../shared/contract/webhooks/signing.js';
import type { Deliveries } from '../../shared/core/webhooks/deliveries.js';
import type { AttemptFeedback, CircuitBreaker } from './circuit-breaker.js';
import type { AttemptResult, DeliveryMetrics } from './metrics.js';
import { type FindRecipient, type Recipient, receiverOf } from './recipients.js';
import { isSuccess, nextStep, type RetrySchedule, requestedRestMs } from './retry-schedule.js';
import type { Sender, SentAttempt } from './send.js';

/** When to attempt again, in milliseconds since the Unix epoch; null: never; `busy`: no attempt ran, the receiver has no slot. */
export type AfterAttempt = number | null | 'busy';

export interface AttemptsDeps {
  deliveries: Pick<Deliveries, 'discard' | 'hold' | 'record'>;
  findRecipient: FindRecipient;
  sender: Pick<Sender, 'send'>;
  breaker: Pick<CircuitBreaker, 'tryAcquire' | 'release'>;
  clock: Clock;
  schedule: RetrySchedule;
  metrics: Pick<DeliveryMetrics, 'attempted' | 'disabled' | 'firstAttempt'>;
}

export interface Attempts {
  /**
   * Makes the attempt if it is due and its receiver has a free slot. Rejects when Redis fails, and with the reason of `signal`
   * when that aborts; an attempt that is cut so is not recorded.
   */
  attempt(delivery: Delivery, signal: AbortSignal): Promise<AfterAttempt>;
}

/** Returns the function that attempts deliveries; it keeps no state of its own. */
export function createAttempts(deps: AttemptsDeps): Attempts {
  const { deliveries, findRecipient, sender, breaker, clock, schedule, metrics } = deps;

  async function attempt(delivery: Delivery, signal: AbortSignal): Promise<AfterAttempt> {
    if (delivery.nextAt > clock.now()) return delivery.nextAt;
    const receiver = receiverOf(delivery);
    if (!breaker.tryAcquire(receiver)) return 'busy';
    let feedback: AttemptFeedback | null = null;
    try {
      const recipient = await findRecipient(delivery);
      if (!recipient) {
        await deliveries.discard(delivery.id);
        return null;
      }
      if (!recipient.enabled) return await hold(delivery);
      const sent = await send(delivery, recipient, signal);
      feedback = feedbackOf(sent, clock.now());
      return await record(delivery, sent);
    } finally {
      breaker.release(receiver, feedback);
    }
  }

  /** Holds the delivery until its endpoint is enabled. If that has just happened, the delivery is due at once. */
  async function hold({ id, endpoint }: Delivery): Promise<number | null> {
    const isHeld = endpoint !== null && (await deliveries.hold(id, endpoint));
    return isHeld ? null : clock.now();
  }

  async function send(delivery: Delivery, recipient: Recipient, signal: AbortSignal): Promise<SentAttempt> {
    const { id, body } = delivery;
    if (delivery.attempts === 0) metrics.firstAttempt((clock.now() - delivery.at) / 1000);
    const headers = sign(recipient.secrets, id, Math.floor(clock.now() / 1000), body);
    return sender.send(recipient.url, headers, body, signal);
  }

  /** Records the attempt, and returns when the next is due; null when no attempt follows. */
  async function record(delivery: Delivery, { attempt, retryAfter }: SentAttempt): Promise<number | null> {
    const now = clock.now();
    const next = nextStep({ status: attempt.status, retryAfter }, delivery, now, schedule);
    const nextAt = Math.ceil(next.status === 'pending' ? now + next.delayMs : now);
    const { disableAfterMs } = schedule;
    const recorded = await deliveries.record(delivery, attempt, next.status, nextAt, disableAfterMs);
    if (!recorded) return null;
    metrics.attempted(resultOf(next.status));
    if (recorded.disabled) metrics.disabled(recorded.disabled);
    return recorded.status === 'pending' ? recorded.nextAt : null;
  }

  return { attempt };
}

function feedbackOf({ attempt, retryAfter }: SentAttempt, nowMs: number): AttemptFeedback {
  const response = { status: attempt.status, retryAfter };
  return {
    isSuccess: isSuccess(response),
    tookMs: attempt.latencyMs,
    restMs: requestedRestMs(response, nowMs),
  };
}

function resultOf(status: Delivery['status']): AttemptResult {
  return status === 'pending' ? 'retried' : status;
}

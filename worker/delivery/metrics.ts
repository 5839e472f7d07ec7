/**
 * What operators see of deliveries.
 */
import { Counter, Histogram, type Registry } from 'prom-client';

export type AttemptOutcome = 'delivered' | 'retried' | 'failed';

export interface DeliveryMetrics {
  attempted(outcome: AttemptOutcome): void;
  /** From the event to the start of its first attempt. */
  firstAttempt(delaySeconds: number): void;
}

export function createDeliveryMetrics(registry: Registry): DeliveryMetrics {
  const attempts = new Counter({
    name: 'sluice_webhook_attempts_total',
    help: 'Attempts to deliver a webhook, by what followed: delivered, retried (later), failed (no more attempts).',
    labelNames: ['outcome'],
    registers: [registry],
  });
  const delay = new Histogram({
    name: 'sluice_webhook_delivery_seconds',
    help: "Time from a job's end to the first attempt to tell it.",
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 600],
    registers: [registry],
  });
  return {
    attempted: (outcome) => attempts.inc({ outcome }),
    // The event's time is Redis' own: a clock behind it must not make a negative duration.
    firstAttempt: (delaySeconds) => delay.observe(Math.max(0, delaySeconds)),
  };
}

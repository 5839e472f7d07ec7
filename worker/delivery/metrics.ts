/**
 * The metrics of webhook delivery.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import { createReadGauge } from '../../shared/base/metrics.js';
import type { DisabledReason } from '../../shared/contract/webhooks/endpoint.js';

/** The values of the label `outcome`: `retried` means that another attempt follows. */
const RESULTS = ['delivered', 'retried', 'failed'] as const;
export type AttemptResult = (typeof RESULTS)[number];
/** The reasons for which Sluice itself disables an endpoint. */
const BY_US = ['failing', 'gone'] as const satisfies DisabledReason[];

export interface DeliveryMetrics {
  attempted(result: AttemptResult): void;
  /** Observes the time from the event to the start of its first attempt. */
  firstAttempt(delaySeconds: number): void;
  /** Counts an endpoint that Sluice has disabled. */
  disabled(reason: DisabledReason): void;
  /** Counts an event for which no delivery was made, because the endpoint's log is full. */
  dropped(): void;
}

export interface DeliveryGauges {
  /** Reads the number of events for which no delivery was made yet. */
  outbox: () => Promise<number>;
  /** Reads the number of deliveries that are pending and not held. */
  pending: () => Promise<number>;
  /** Reads the number of receivers whose circuit is open. */
  openCircuits: () => number;
}

/** Registers the metrics of this process and returns the functions that count. */
export function createDeliveryMetrics(
  registry: Registry,
  clock: Clock,
  { outbox, pending, openCircuits }: DeliveryGauges,
): DeliveryMetrics {
  const registers = [registry];
  const attempts = new Counter({
    name: 'sluice_webhook_attempts_total',
    help: 'Attempts to deliver a webhook, by what followed; failed: no more attempts.',
    labelNames: ['outcome'],
    registers,
  });
  const delay = new Histogram({
    name: 'sluice_webhook_delivery_seconds',
    help: 'Time from an event to the first attempt to tell it.',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 600],
    registers,
  });
  const disabled = new Counter({
    name: 'sluice_webhook_endpoints_disabled_total',
    help: 'Endpoints that were disabled because they failed for days, or answered that they are gone.',
    labelNames: ['reason'],
    registers,
  });
  const dropped = new Counter({
    name: 'sluice_webhook_events_dropped_total',
    help: 'Events of which no delivery was made, because as many as are kept were pending.',
    registers,
  });
  createReadGauge(
    clock,
    {
      name: 'sluice_webhook_outbox_events',
      help: 'Events of which no delivery was made yet, in all processes; near 0 while a delivery role runs.',
      registers,
    },
    async () => [{ value: await outbox() }],
  );
  createReadGauge(
    clock,
    {
      name: 'sluice_webhook_deliveries_pending',
      help: 'Deliveries with an attempt to come, in all processes; those held for endpoints that are not enabled left out.',
      registers,
    },
    async () => [{ value: await pending() }],
  );
  new Gauge({
    name: 'sluice_webhook_circuits_open',
    help: 'Receivers that failed so often in a row that they are tried one delivery at a time.',
    registers,
    collect() {
      this.set(openCircuits());
    },
  });
  // Prometheus sees no increase in a series that first appears at 1, so every series begins at 0.
  for (const result of RESULTS) attempts.inc({ outcome: result }, 0);
  for (const reason of BY_US) disabled.inc({ reason }, 0);
  return {
    attempted: (result) => attempts.inc({ outcome: result }),
    // The event carries Redis' time. The clock of this process may be behind it, and a duration must not be negative.
    firstAttempt: (delaySeconds) => delay.observe(Math.max(0, delaySeconds)),
    disabled: (reason) => disabled.inc({ reason }),
    dropped: () => dropped.inc(),
  };
}

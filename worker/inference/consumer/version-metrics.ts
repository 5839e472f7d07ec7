/**
 * Version metrics: what is counted of a version while it is served, for the metrics and for whoever judges canaries.
 */
import type { Counter } from 'prom-client';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { SETTLED } from '../../../shared/core/jobs/executions.js';
import type { OutcomeCounter } from '../../../shared/core/models/version-outcomes.js';
import type { InferenceMetrics } from '../metrics.js';
import type { TicketConsumerListener } from './ticket-consumer.js';

export interface VersionMetricsDeps {
  metrics: InferenceMetrics;
  expired: Counter;
  outcomes: OutcomeCounter;
}

export interface VersionMetrics {
  listener: TicketConsumerListener;
  /** The version is served no more. */
  end(): void;
}

/** Begins the metrics of a version at zero and returns what counts from then on. */
export function startVersionMetrics(
  { metrics, expired, outcomes }: VersionMetricsDeps,
  { name: model, version }: Manifest,
): VersionMetrics {
  // A series that appears with its first event shows no increase to whoever looks for one.
  for (const status of SETTLED) metrics.jobs.inc({ model, status }, 0);
  for (const kind of ['real', 'padding']) metrics.elements.inc({ model, kind }, 0);
  metrics.modelEvictions.inc({ model }, 0);
  return {
    listener: {
      onPolicy({ maxBatchSize, maxDelayMs }) {
        metrics.batchLimit.set({ model, version }, maxBatchSize);
        metrics.batchDelay.set({ model, version }, maxDelayMs / 1000);
      },
      onPadding({ real, padding }) {
        metrics.elements.inc({ model, kind: 'real' }, real);
        metrics.elements.inc({ model, kind: 'padding' }, padding);
      },
      onSettled(status, batch) {
        metrics.jobs.inc({ model, status });
        if (status === 'succeeded' || status === 'failed') outcomes.count(model, version, status, batch);
      },
      onUnstarted(unstarted) {
        expired.inc(unstarted.expired);
        metrics.jobs.inc({ model, status: 'failed' }, unstarted.lost);
      },
    },
    end() {
      // Versions come and go, so that the series of all of them would grow without end.
      metrics.batchLimit.remove({ model, version });
      metrics.batchDelay.remove({ model, version });
      metrics.isolated.remove({ model, version });
    },
  };
}

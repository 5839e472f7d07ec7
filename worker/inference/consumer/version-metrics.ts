/**
 * What is counted of a version while it is served: hears its consumer, and tells the metrics and whoever judges canaries.
 */
import type { Counter } from 'prom-client';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { SETTLED } from '../../../shared/core/jobs/executions.js';
import type { OutcomeCounter } from '../../../shared/core/models/version-outcomes.js';
import type { InferenceMetrics } from '../metrics.js';
import type { ConsumerListener } from './ticket-consumer.js';

export interface CountingDeps {
  metrics: InferenceMetrics;
  expired: Counter;
  outcomes: OutcomeCounter;
}

export interface Counting {
  hears: ConsumerListener;
  /** The version is served no more. */
  end(): void;
}

export function createCounting({ metrics, expired, outcomes }: CountingDeps) {
  return function begin({ name: model, version }: Manifest): Counting {
    // From the start: what appears with its first event is no increase to who looks for one.
    for (const status of SETTLED) metrics.jobs.inc({ model, status }, 0);
    for (const kind of ['real', 'padding']) metrics.elements.inc({ model, kind }, 0);
    metrics.modelEvictions.inc({ model }, 0);
    return {
      hears: {
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
        // Versions come and go: those of all times would be more and more.
        metrics.batchLimit.remove({ model, version });
        metrics.batchDelay.remove({ model, version });
      },
    };
  };
}

/**
 * The metrics by which workers are scaled, the same as /v1/autoscale tells. Every process reports the same values.
 */
import type { Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import { createReadGauge } from '../../shared/base/metrics.js';
import type { AutoscaleView } from '../../shared/contract/queue-view.js';
import type { Autoscale } from '../../shared/core/scaling/autoscale.js';

export interface AutoscaleMetricsDeps {
  autoscale: Pick<Autoscale, 'list'>;
  clock: Clock;
  registry: Registry;
}

const GAUGES: readonly { name: string; help: string; of: (view: AutoscaleView) => number }[] = [
  { name: 'desired_workers', help: 'Workers that the model needs.', of: (view) => view.desiredWorkers },
  { name: 'workers', help: 'Workers that serve the model.', of: (view) => view.workers },
  {
    name: 'arrivals_per_second',
    help: 'Jobs that are submitted in a second.',
    of: (view) => view.arrivalPerSecond,
  },
  {
    name: 'worker_jobs_per_second',
    help: 'Jobs that a worker starts in a second while jobs wait; 0 where that was not measured.',
    of: (view) => view.perWorkerPerSecond ?? 0,
  },
];

/** Registers gauges that read Redis when Prometheus scrapes them. */
export function registerAutoscaleMetrics({ autoscale, clock, registry }: AutoscaleMetricsDeps): void {
  /** One scrape asks once for all of them. */
  let asked: Promise<AutoscaleView[]> | null = null;
  function ask(): Promise<AutoscaleView[]> {
    asked ??= autoscale.list().finally(() => {
      asked = null;
    });
    return asked;
  }

  for (const { name, help, of } of GAUGES)
    createReadGauge(
      clock,
      { name: `sluice_autoscale_${name}`, help, labelNames: ['model'], registers: [registry] },
      async () => (await ask()).map((view) => ({ labels: { model: view.model }, value: of(view) })),
    );
}

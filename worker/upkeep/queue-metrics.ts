/**
 * The metrics of the queues: how many jobs wait, and for how long. Every process reports the same values.
 */
import type { Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import { createReadGauge } from '../../shared/base/metrics.js';
import type { VersionQueue } from '../../shared/contract/queue-view.js';
import type { Models } from '../../shared/core/models/models.js';
import type { QueueStatus } from '../../shared/core/queues/queue-status.js';

export interface QueueMetricsDeps {
  models: Pick<Models, 'list'>;
  queueStatus: Pick<QueueStatus, 'stateOf'>;
  clock: Clock;
  registry: Registry;
}

/** Registers gauges that read Redis when Prometheus scrapes them. */
export function registerQueueMetrics({ models, queueStatus, clock, registry }: QueueMetricsDeps): void {
  const labelNames = ['model', 'version'] as const;
  const registers = [registry];

  const read = (toValue: (queue: VersionQueue) => number) => async () => {
    const all = await models.list();
    const states = await Promise.all(
      all.map(async ({ name, versions }) => {
        const retired = new Set(
          versions.filter(({ state }) => state === 'retired').map(({ manifest }) => manifest.version),
        );
        const { versions: queues } = await queueStatus.stateOf(
          name,
          versions.map(({ manifest }) => manifest.version),
        );
        // Retired versions without jobs are left out, because their number only grows.
        return queues
          .filter(({ version, queued }) => queued > 0 || !retired.has(version))
          .map((queue) => ({ labels: { model: name, version: queue.version }, value: toValue(queue) }));
      }),
    );
    return states.flat();
  };

  createReadGauge(
    clock,
    {
      name: 'sluice_queued_jobs',
      help: 'Jobs that wait for a worker, in all processes.',
      labelNames,
      registers,
    },
    read(({ queued }) => queued),
  );
  createReadGauge(
    clock,
    {
      name: 'sluice_queue_age_seconds',
      help: 'Age of the job that starts next; 0 where none waits.',
      labelNames,
      registers,
    },
    read(({ nextAgeMs }) => (nextAgeMs ?? 0) / 1000),
  );
}

/**
 * The metrics of the inference role; deploy/monitoring has the table of all metrics.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export type InferenceMetrics = ReturnType<typeof createInferenceMetrics>;

/** Returns the metrics, registered. */
export function createInferenceMetrics(registry: Registry) {
  const registers = [registry];
  return {
    batchSize: new Histogram({
      name: 'sluice_batch_size',
      help: 'Instances in a batch.',
      labelNames: ['model'],
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers,
    }),
    batchWait: new Histogram({
      name: 'sluice_batch_wait_seconds',
      help: 'Time from the arrival of its oldest job until a batch was handed over to be computed.',
      labelNames: ['model'],
      buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5],
      registers,
    }),
    elements: new Counter({
      name: 'sluice_input_elements_total',
      help: 'Elements of computed input, and of padding that came to them.',
      labelNames: ['model', 'kind'],
      registers,
    }),
    batchLimit: new Gauge({
      name: 'sluice_batch_limit',
      help: 'Instances in a batch at most, as the model.yaml, its targetP99Ms and the memory allow.',
      labelNames: ['model', 'version'],
      registers,
    }),
    isolated: new Gauge({
      name: 'sluice_version_isolates_jobs',
      help: '1 where predictions of a signature depend on who shares the batch, so that each job of it has batches of its own; else 0.',
      labelNames: ['model', 'version'],
      registers,
    }),
    batchDelay: new Gauge({
      name: 'sluice_batch_delay_seconds',
      help: 'Time for which a batch that forms waits for company at most.',
      labelNames: ['model', 'version'],
      registers,
    }),
    backendRun: new Histogram({
      name: 'sluice_backend_run_seconds',
      help: 'Time for which a batch was computed.',
      labelNames: ['model'],
      buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30],
      registers,
    }),
    jobs: new Counter({
      name: 'sluice_jobs_settled_total',
      help: 'Executions that ended, by what became of their job; retried: it waits again, void: its end came too late to count.',
      labelNames: ['model', 'status'],
      registers,
    }),
    childRestarts: new Counter({
      name: 'sluice_child_restarts_total',
      help: 'Processes that compute and have died; each is replaced.',
      registers,
    }),
    childRenewals: new Counter({
      name: 'sluice_child_renewals_total',
      help: 'Processes that compute and have served their time; each is replaced.',
      registers,
    }),
    modelLoads: new Counter({
      name: 'sluice_model_loads_total',
      help: 'Versions loaded, for the first time or after they had made room for others.',
      labelNames: ['model'],
      registers,
    }),
    modelEvictions: new Counter({
      name: 'sluice_model_evictions_total',
      help: 'Versions unloaded to make room, or because they were retired.',
      labelNames: ['model'],
      registers,
    }),
    modelBytes: (read: () => number) =>
      new Gauge({
        name: 'sluice_model_bytes',
        help: 'Weights of the versions that are loaded, once for each process that computes.',
        registers,
        collect() {
          this.set(read());
        },
      }),
    backend: new Gauge({
      name: 'sluice_backend_info',
      help: 'What computes; the value is always 1.',
      labelNames: ['backend', 'device', 'name'],
      registers,
    }),
    deviceMemory: new Gauge({
      name: 'sluice_device_memory_bytes',
      help: 'Memory of the device that computes, where it is known; with the CPU that of the machine.',
      labelNames: ['backend', 'device'],
      registers,
    }),
  };
}

/**
 * Figures of a worker, from its own metrics.
 */
import type { BenchWorker } from './systems.js';

export interface WorkerFigures {
  /** Jobs that were settled and did not succeed. */
  failed: number;
  /** Instances in batches. */
  instances: number;
  batches: number;
  computeSeconds: number;
}

/** Returns the sums since the worker started. */
export async function readFigures(worker: BenchWorker): Promise<WorkerFigures> {
  const text = await worker.metrics();
  const sum = (name: string, label = '') =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*${label}[^}]*\\})? (\\S+)$`, 'gm'))].reduce(
      (total, [, value]) => total + Number(value),
      0,
    );
  return {
    failed: sum('sluice_jobs_settled_total') - sum('sluice_jobs_settled_total', 'succeeded'),
    instances: sum('sluice_batch_size_sum'),
    batches: sum('sluice_batch_size_count'),
    computeSeconds: sum('sluice_backend_run_seconds_sum'),
  };
}

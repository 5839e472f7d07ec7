/**
 * Counts the jobs that a process accepts, alike in the API and in a worker that submits the lines of batches.
 */
import { Counter, type Registry } from 'prom-client';
import type { JobRecord } from '../../../contract/job.js';

/** Counts one job that was made. */
export type CountSubmitted = (record: JobRecord) => void;

/** Registers `sluice_jobs_submitted_total` and returns the function that counts one job. */
export function createSubmittedCounter(registry: Registry): CountSubmitted {
  const submitted = new Counter({
    name: 'sluice_jobs_submitted_total',
    help: 'Jobs accepted, lines of batches among them; not those that an Idempotency-Key found.',
    labelNames: ['model'],
    registers: [registry],
  });
  return ({ spec: { model } }) => submitted.inc({ model });
}

/**
 * The same, and `sluice_jobs_cached_total` of jobs that kept predictions ended; lines of batches never ask for these.
 */
export function createCachedCounter(registry: Registry): CountSubmitted {
  const countSubmitted = createSubmittedCounter(registry);
  const cached = new Counter({
    name: 'sluice_jobs_cached_total',
    help: 'Jobs ended when they were submitted, by the predictions of an equal one.',
    labelNames: ['model'],
    registers: [registry],
  });
  return (record) => {
    countSubmitted(record);
    if (record.end?.cached) cached.inc({ model: record.spec.model });
  };
}

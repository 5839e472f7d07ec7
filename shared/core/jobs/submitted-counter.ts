/**
 * Jobs accepted, counted alike by whoever takes them in: the API, and a worker that submits the lines of batches.
 */
import { Counter, type Registry } from 'prom-client';

/** What `createSubmission` tells, counted. */
export function createSubmittedCounter(registry: Registry): (model: string) => void {
  const submitted = new Counter({
    name: 'sluice_jobs_submitted_total',
    help: 'Jobs accepted, lines of batches among them; not those that an Idempotency-Key found.',
    labelNames: ['model'],
    registers: [registry],
  });
  return (model) => submitted.inc({ model });
}

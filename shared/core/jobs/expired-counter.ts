/**
 * Counts the jobs that expired. Upkeep finds them, and so does a consumer that would have started them.
 */
import { Counter, type Registry } from 'prom-client';

const NAME = 'sluice_jobs_expired_total';

/** Returns the counter of the process; its roles share one. */
export function createExpiredCounter(registry: Registry): Counter {
  return (
    (registry.getSingleMetric(NAME) as Counter | undefined) ??
    new Counter({ name: NAME, help: 'Jobs ended by their deadline.', registers: [registry] })
  );
}

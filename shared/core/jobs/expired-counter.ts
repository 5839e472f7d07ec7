/**
 * Jobs that their deadline ended, counted by whoever finds them: upkeep, or a consumer that would have started them.
 */
import { Counter, type Registry } from 'prom-client';

const NAME = 'sluice_jobs_expired_total';

/** One for all roles of a process. */
export function createExpiredCounter(registry: Registry): Counter {
  return (
    (registry.getSingleMetric(NAME) as Counter | undefined) ??
    new Counter({ name: NAME, help: 'Jobs ended by their deadline.', registers: [registry] })
  );
}

/** The specs of jobs that tests write themselves, as a submission would make them. */
import { newId } from '../../shared/contract/ids.js';
import type { JobSpec } from '../../shared/contract/job.js';

/** Returns the spec of a new job of the tenant `acme`, for the model `m`, version 1; `changes` replaces some of it. */
export function newJobSpec(changes: Partial<JobSpec> = {}): JobSpec {
  return {
    id: newId('job', Date.now()),
    tenant: 'acme',
    model: 'm',
    version: 1,
    alias: null,
    priority: 'standard',
    instances: 1,
    timeoutSeconds: 60,
    allowPartial: false,
    metadata: {},
    webhook: null,
    retryOf: null,
    ...changes,
  };
}

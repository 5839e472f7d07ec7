/**
 * The limits that an operator sets for jobs, from the configuration.
 */

import { ConfigError, list } from '../../base/config.js';
import type { Config } from '../../contract/config.js';
import { MAX_RETENTION_SECONDS } from '../../contract/job.js';

export interface JobLimits {
  maxQueuedPerTenant: number;
  maxQueuedBytesPerTenant: number;
  maxQueuedPerModel: number;
  maxQueuedBytesPerModel: number;
  /** How long a job is kept once it has ended, unless the job or its tenant has a time of its own. */
  retentionSeconds: number;
  fileRetentionSeconds: number;
  maxBatchesPerTenant: number;
  retentions: ReadonlyMap<string, number>;
  /** The most executions of a job whose error may go away. */
  maxAttempts: number;
  /** After this wait a job goes before its priority. */
  agingSeconds: number;
  /** The tenants' shares of a busy queue; a tenant that is not named has 1. */
  weights: ReadonlyMap<string, number>;
}

/**
 * Returns the limits of a configuration.
 * @throws ConfigError when SLUICE_TENANT_WEIGHTS or SLUICE_TENANT_RETENTION_SECONDS has a wrong form.
 */
export function jobLimitsOf(config: Config): JobLimits {
  return {
    maxQueuedPerTenant: config.SLUICE_MAX_QUEUED_PER_TENANT,
    maxQueuedBytesPerTenant: config.SLUICE_MAX_QUEUED_BYTES_PER_TENANT,
    maxQueuedPerModel: config.SLUICE_MAX_QUEUED_PER_MODEL,
    maxQueuedBytesPerModel: config.SLUICE_MAX_QUEUED_BYTES_PER_MODEL,
    retentionSeconds: config.SLUICE_RETENTION_SECONDS,
    maxAttempts: config.SLUICE_MAX_ATTEMPTS,
    agingSeconds: config.SLUICE_AGING_SECONDS,
    fileRetentionSeconds: config.SLUICE_FILE_RETENTION_SECONDS,
    maxBatchesPerTenant: config.SLUICE_MAX_BATCHES_PER_TENANT,
    retentions: perTenant(config, 'SLUICE_TENANT_RETENTION_SECONDS', 1, MAX_RETENTION_SECONDS),
    weights: perTenant(config, 'SLUICE_TENANT_WEIGHTS', 0.01, 100),
  };
}

/** Reads a variable of the form `tenant=number,tenant=number`. */
function perTenant(
  config: Config,
  name: 'SLUICE_TENANT_WEIGHTS' | 'SLUICE_TENANT_RETENTION_SECONDS',
  least: number,
  most: number,
): Map<string, number> {
  return new Map(
    list(config[name]).map((text) => {
      const [, tenant, number] = /^([^=]+)=(\d+(?:\.\d+)?)$/.exec(text) ?? [];
      if (tenant && Number(number) >= least && Number(number) <= most) return [tenant, Number(number)];
      throw new ConfigError(`${name}: "${text}" is not <tenant>=<number from ${least} to ${most}>.`);
    }),
  );
}

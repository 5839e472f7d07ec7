/**
 * What an operator allows jobs, from the configuration.
 */
import { type Config, ConfigError, list } from '../base/config.js';

export interface JobLimits {
  maxQueuedPerTenant: number;
  maxQueuedBytesPerTenant: number;
  maxQueuedPerModel: number;
  maxQueuedBytesPerModel: number;
  retentionSeconds: number;
  /** Executions of a job whose error may go away. */
  maxAttempts: number;
  /** A job that has waited so long goes before its priority. */
  agingSeconds: number;
  /** A tenant's share of a queue that others want too; 1 for those not named. */
  weights: ReadonlyMap<string, number>;
}

export function jobLimitsOf(config: Config): JobLimits {
  return {
    maxQueuedPerTenant: config.SLUICE_MAX_QUEUED_PER_TENANT,
    maxQueuedBytesPerTenant: config.SLUICE_MAX_QUEUED_BYTES_PER_TENANT,
    maxQueuedPerModel: config.SLUICE_MAX_QUEUED_PER_MODEL,
    maxQueuedBytesPerModel: config.SLUICE_MAX_QUEUED_BYTES_PER_MODEL,
    retentionSeconds: config.SLUICE_RETENTION_SECONDS,
    maxAttempts: config.SLUICE_MAX_ATTEMPTS,
    agingSeconds: config.SLUICE_AGING_SECONDS,
    weights: new Map(list(config.SLUICE_TENANT_WEIGHTS).map(parseWeight)),
  };
}

function parseWeight(text: string): [tenant: string, weight: number] {
  const [, tenant, weight] = /^([^=]+)=(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (!tenant || !weight || Number(weight) < 0.01 || Number(weight) > 100)
    throw new ConfigError(`SLUICE_TENANT_WEIGHTS: "${text}" is not <tenant>=<weight from 0.01 to 100>.`);
  return [tenant, Number(weight)];
}

/**
 * The configuration of every process of Sluice: the variables of variables.ts, read and checked.
 */
import { type Owner, readVariables, type ValuesOf, type VariableTable } from '../base/config.js';
import type { MetricsAddress } from '../base/metrics.js';
import { VARIABLES } from './variables.js';

/** The variables of the command `sluice` alone. All other processes know and ignore them. */
export const COMMAND_VARIABLES = {
  SLUICE_URL: {
    type: 'string',
    pattern: '^https?://[^/?#@]+(/[^?#]*)?$',
    form: 'must be an http:// or https:// address without user, query and fragment',
    description: 'Where the API is; unset: the address of the launcher, else port 8080 of this machine.',
  },
  SLUICE_API_KEY: {
    type: 'string',
    secret: true,
    pattern: '^[!-~]+$',
    form: 'must be one word of ASCII letters, digits and signs',
    description: 'Key for it; unset: SLUICE_BOOTSTRAP_KEY, else the key that the launcher keeps.',
  },
} as const satisfies VariableTable;

/** The file in the data folder that tells the address of the launcher's Redis. */
export const ADDRESS_FILE = 'redis.url';

/** The file in the data folder that tells the address of the launcher's API. */
export const API_ADDRESS_FILE = 'api.url';

/** The port of an API's metrics where no other is configured. Prometheus itself has 9090. */
export const METRICS_PORT = 18_080;

export type Config = ValuesOf<typeof VARIABLES>;
export type CommandConfig = Config & ValuesOf<typeof COMMAND_VARIABLES>;

const OWNER: Owner = { product: 'Sluice', prefix: 'SLUICE_' };

/**
 * Reads the configuration of this process.
 * @throws ConfigError that lists every fault.
 */
export function loadConfig(environment?: NodeJS.ProcessEnv): Config {
  return readVariables(VARIABLES, { ...OWNER, ignored: Object.keys(COMMAND_VARIABLES) }, environment);
}

/**
 * Reads the configuration of the command `sluice`, which finds a launcher of this machine by that of its processes.
 * @throws ConfigError that lists every fault.
 */
export function loadCommandConfig(environment?: NodeJS.ProcessEnv): CommandConfig {
  return readVariables({ ...VARIABLES, ...COMMAND_VARIABLES }, OWNER, environment);
}

/** Returns the address of this process' metrics and probes; `unset` is its port where none is configured, 0 a free one. */
export function metricsAddressOf(config: Config, unset: number): MetricsAddress {
  return {
    host: config.SLUICE_METRICS_HOST,
    port: config.SLUICE_METRICS_PORT ?? unset,
    settings: 'SLUICE_METRICS_HOST and SLUICE_METRICS_PORT',
  };
}

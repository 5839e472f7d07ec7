/**
 * The configuration of every process of Sluice: the variables of variables.ts, read and checked.
 */
import { readVariables, type ValuesOf } from '../base/config.js';
import { VARIABLES } from './variables.js';

/** The file in the data folder that tells the address of the launcher's Redis. */
export const ADDRESS_FILE = 'redis.url';

export type Config = ValuesOf<typeof VARIABLES>;

/**
 * Reads the configuration of this process.
 * @throws ConfigError that lists every fault.
 */
export function loadConfig(environment?: NodeJS.ProcessEnv): Config {
  return readVariables(VARIABLES, { product: 'Sluice', prefix: 'SLUICE_' }, environment);
}

/** Refuses a Redis that would lose jobs. */
import { ConfigError } from '../base/config.js';
import type { Redis } from './connect.js';

/**
 * Checks that Redis may not forget an accepted job: it must evict no keys and keep an append-only file.
 *
 * @returns the faults that `allowUnsafe` let pass
 * @throws {ConfigError} that names all faults, unless `allowUnsafe`
 */
export async function checkDurable(redis: Redis, allowUnsafe: boolean): Promise<string[]> {
  const info = await redis.info();
  const faults: string[] = [];
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy !== 'noeviction')
    faults.push(`maxmemory-policy is ${policy ?? 'unknown'}, it must be noeviction`);
  if (/^aof_enabled:(\d)/m.exec(info)?.[1] !== '1')
    faults.push('appendonly is off, accepted jobs would die with Redis');
  if (faults.length > 0 && !allowUnsafe) {
    throw new ConfigError(
      `Redis is not safe for jobs: ${faults.join('; ')}. SLUICE_ALLOW_UNSAFE_REDIS=1 starts all the same.`,
    );
  }
  return faults;
}

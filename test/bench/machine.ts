/**
 * On what the figures were taken.
 */
import { cpus, totalmem } from 'node:os';

/**
 * Returns the facts; `redis` is where the server came from, as the launcher tells it, null where none was used; `node` is the version
 * that was measured.
 */
export function machineFacts(redis: string | null, node = process.version): Record<string, string | number> {
  return {
    cores: cpus().length,
    processor: cpus()[0]?.model ?? 'unknown',
    'memory GB': Math.round(totalmem() / 1e9),
    node,
    ...(redis !== null && { redis: redis.replace(/^(Redis|Valkey) (\S+).*/, '$2') }),
    system: `${process.platform} ${process.arch}`,
  };
}

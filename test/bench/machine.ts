/**
 * On what the figures were taken.
 */
import { cpus, totalmem } from 'node:os';

/** `redis`: where the server came from, as the launcher tells it. */
export function machineFacts(redis: string): Record<string, string | number> {
  return {
    cores: cpus().length,
    processor: cpus()[0]?.model ?? 'unknown',
    'memory GB': Math.round(totalmem() / 1e9),
    node: process.version,
    redis: redis.replace(/^(Redis|Valkey) (\S+).*/, '$2'),
    system: `${process.platform} ${process.arch}`,
  };
}

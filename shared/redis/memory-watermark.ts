/**
 * Watches once a second whether Redis has room for more jobs, and refuses them long before Redis itself would.
 *
 * A full Redis refuses every write, also those that end jobs and renew locks. So the jobs that run must have room left.
 */
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import { SluiceError } from '../contract/errors.js';
import type { Redis } from './connect.js';

const PERIOD_MS = 1000;
const RETRY_AFTER_SECONDS = 5;

export interface Watermark {
  /** Throws `insufficient_storage` while Redis is too full. */
  check(): void;
  close(): void;
}

/** Resolves to the watch over `percent` of Redis' maxmemory. A Redis without maxmemory has no watermark. */
export async function watchMemory(
  redis: Redis,
  percent: number,
  clock: Clock,
  log: Logger,
): Promise<Watermark> {
  let isFull = false;

  async function look(): Promise<number> {
    const info = await redis.info('memory');
    const used = Number(/^used_memory:(\d+)/m.exec(info)?.[1] ?? 0);
    const limit = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0);
    const full = limit > 0 && used > (limit * percent) / 100;
    if (full !== isFull)
      log.warn({ used, limit, percent }, full ? 'redis is nearly full' : 'redis has room again');
    isFull = full;
    return limit;
  }

  if ((await look()) === 0) log.warn('Redis has no maxmemory: its memory is not watched.');
  // A look that fails tells nothing new; requests meet the same failure themselves.
  const stop = clock.every(PERIOD_MS, () => void look().catch(() => undefined));
  return {
    check() {
      if (isFull) {
        throw new SluiceError('insufficient_storage', undefined, { retryAfterSeconds: RETRY_AFTER_SECONDS });
      }
    },
    close: stop,
  };
}

/** Refuses a Redis that would lose jobs, and waits for replicas where a failover is not to lose any either. */
import { ConfigError } from '../base/config.js';
import { SluiceError } from '../contract/errors.js';
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

/** A primary waits so long for its replicas. */
const REPLICATED_WITHIN_MS = 1000;
/** Once they did not come, it waits so long until they are back, because a connection that waits does nothing else. */
const ABSENT_WITHIN_MS = 10;
const AGAIN_AFTER_S = 1;

/** Begins to watch what a call writes; the returned function resolves when replicas have it. */
export type WatchReplication = () => () => Promise<void>;

/**
 * Returns what waits for `replicas` of the connection, 0 for none. Calls that come while one waits share the next wait.
 *
 * It throws a SluiceError, `not_replicated`, when too few have it in time, and when the connection broke since the call began: a wait tells
 * only of what its own connection wrote. Then the writes stand where they are, and may be lost in a failover.
 */
export function watchReplicas(redis: Pick<Redis, 'wait' | 'on'>, replicas: number): WatchReplication {
  let withinMs = REPLICATED_WITHIN_MS;
  let breaks = 0;
  let current: Promise<number> | null = null;
  let next: Promise<number> | null = null;
  redis.on('close', () => void breaks++);

  function begin(): Promise<number> {
    current = redis.wait(replicas, withinMs).finally(() => {
      current = null;
    });
    return current;
  }

  /** Resolves with how many replicas have what was written before the call. */
  function reached(): Promise<number> {
    if (!current) return begin();
    next ??= current
      .catch(() => undefined)
      .then(() => {
        next = null;
        return begin();
      });
    return next;
  }

  return () => {
    const breaksBefore = breaks;
    return async () => {
      if (replicas === 0) return;
      const count = await reached();
      const isEnough = count >= replicas;
      withinMs = isEnough ? REPLICATED_WITHIN_MS : ABSENT_WITHIN_MS;
      if (isEnough && breaks === breaksBefore) return;
      const what = isEnough ? 'The connection to Redis broke' : `${count} of ${replicas} replicas have it`;
      const detail = `${what}. It is carried out, and the same call with the same Idempotency-Key finds it.`;
      throw new SluiceError('not_replicated', detail, { retryAfterSeconds: AGAIN_AFTER_S });
    };
  };
}

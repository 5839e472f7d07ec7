/**
 * Held requests: a caller that waits for a job costs a map entry, not a poll.
 *
 * Whoever ends a job publishes its id; every API process listens on one connection. A notice may be missed while that
 * connection is away, so its return wakes everybody, and whoever is woken reads the record, which alone is the truth.
 */
import type { Clock } from '../shared/base/clock.js';
import { SluiceError } from '../shared/base/errors.js';
import type { Redis } from '../shared/base/redis.js';

export interface Wait {
  /** Resolves true when the job may have ended, false when time is up, somebody gave up or the process drains. */
  woken(): Promise<boolean>;
  /** For a caller that is gone. */
  giveUp(): void;
  /** Must be called in the end. */
  release(): void;
}

export interface Waits {
  /** Watches `id` from now on, for `timeoutMs`; throws `too_many_waits` when the tenant holds its share. */
  hold(tenant: string, id: string, timeoutMs: number): Wait;
  /** Lets every held request go. */
  close(): void;
  readonly held: number;
}

export interface WaitsDeps {
  /** A connection of its own: it will only listen. */
  redis: Redis;
  channel: string;
  clock: Clock;
  maxPerTenant: number;
}

interface Held {
  pending: boolean;
  wake: ((ended: boolean) => void) | null;
  over: boolean;
}

export async function createWaits({ redis, channel, clock, maxPerTenant }: WaitsDeps): Promise<Waits> {
  const byJob = new Map<string, Set<Held>>();
  const byTenant = new Map<string, number>();

  const notify = (held: Held) => {
    held.pending = true;
    held.wake?.(true);
  };
  redis.on('message', (_, ids: string) => {
    for (const id of ids.split(' ')) byJob.get(id)?.forEach(notify);
  });
  redis.on('ready', () => {
    for (const helds of byJob.values()) helds.forEach(notify);
  });
  await redis.subscribe(channel);

  const giveUp = (held: Held) => {
    held.over = true;
    held.wake?.(false);
  };

  function hold(tenant: string, id: string, timeoutMs: number): Wait {
    const count = byTenant.get(tenant) ?? 0;
    if (count >= maxPerTenant) throw new SluiceError('too_many_waits', undefined, { retryAfterSeconds: 1 });
    byTenant.set(tenant, count + 1);
    const held: Held = { pending: false, wake: null, over: false };
    byJob.set(id, (byJob.get(id) ?? new Set()).add(held));
    const cancelTimer = clock.after(timeoutMs, () => giveUp(held));

    return {
      woken() {
        if (held.pending) {
          held.pending = false;
          return Promise.resolve(true);
        }
        if (held.over) return Promise.resolve(false);
        return new Promise((resolve) => {
          held.wake = (ended) => {
            held.wake = null;
            held.pending = false;
            resolve(ended);
          };
        });
      },
      giveUp: () => giveUp(held),
      release() {
        cancelTimer();
        const helds = byJob.get(id);
        if (helds?.delete(held) && helds.size === 0) byJob.delete(id);
        const left = (byTenant.get(tenant) ?? 1) - 1;
        if (left === 0) byTenant.delete(tenant);
        else byTenant.set(tenant, left);
      },
    };
  }

  return {
    hold,
    close() {
      for (const helds of byJob.values()) helds.forEach(giveUp);
    },
    get held() {
      return [...byTenant.values()].reduce((sum, count) => sum + count, 0);
    },
  };
}

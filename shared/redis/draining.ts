/** Keeps a process that ends from waiting for a Redis that is away. */
import { type Clock, sleep } from '../base/clock.js';
import type { Redis } from './connect.js';

/** A process that ends waits for a Redis that is away no longer than this. */
const AWAY_MS = 5000;
const PING_MS = 500;

/**
 * Once `draining`, calls `giveUp` when Redis has not answered for `AWAY_MS`, because everything that is closed waits for it,
 * BullMQ's workers for ever. Jobs that they have not settled are taken again elsewhere when their locks have run out.
 */
export function watchWhileDraining(
  redis: Redis,
  clock: Clock,
  draining: AbortSignal,
  giveUp: () => void,
): void {
  async function watch(): Promise<void> {
    for (;;) {
      const cancel = clock.after(AWAY_MS, giveUp);
      await redis.ping().catch(() => undefined);
      cancel();
      await sleep(clock, PING_MS);
    }
  }
  draining.addEventListener('abort', () => void watch(), { once: true });
}

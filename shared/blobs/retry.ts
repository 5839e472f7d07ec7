/**
 * Retries a call that may work a moment later.
 *
 * This stays ours beside `p-retry` and `cockatiel`: both set timers of their own, and tests of the store advance an injected clock.
 */
import { type Clock, sleep } from '../base/clock.js';

/** Delays before the second and the third attempt. Up to half as much is added at random. */
const RETRY_DELAYS_MS = [100, 400];

/** Runs `attempt` up to three times, as long as `isTransient` accepts its error. Throws the last error. */
export async function withRetries<T>(
  clock: Clock,
  isTransient: (error: unknown) => boolean,
  attempt: () => Promise<T>,
): Promise<T> {
  for (const delayMs of RETRY_DELAYS_MS) {
    try {
      return await attempt();
    } catch (error) {
      if (!isTransient(error)) throw error;
      await sleep(clock, delayMs * (1 + Math.random() / 2));
    }
  }
  return attempt();
}

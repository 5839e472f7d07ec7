/**
 * Trying again what may work a moment later.
 */
import { type Clock, sleep } from '../base/clock.js';

/** Pauses before the second and the third attempt; up to half as much is added by chance. */
export const RETRY_DELAYS_MS = [100, 400];

/** Runs `attempt` up to three times, while `isTransient` says so of its error; the last error is thrown. */
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

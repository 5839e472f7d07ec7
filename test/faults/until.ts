/**
 * Waiting for a state, with a bound: the only way in which anything here waits.
 */
import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 50;

/** Resolves with the first value that is neither null nor false; throws, naming what it waited for, after `withinMs`. */
export async function until<T>(
  what: string,
  withinMs: number,
  look: () => Promise<T | null | false> | T | null | false,
): Promise<T> {
  const startedMs = performance.now();
  for (;;) {
    const found = await look();
    if (found !== null && found !== false) return found;
    if (performance.now() - startedMs > withinMs) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
    await pause(POLL_MS);
  }
}

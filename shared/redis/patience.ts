/**
 * Bounds how long a command waits for a Redis that is away, where somebody waits for the answer.
 *
 *   reached -> away: commands are held, those in flight are sent again -> reached
 *                    `BREAK_MS` are over -> given up: whatever waits fails, and so does at once whatever comes -> reached
 *
 * A short break thus costs nobody an error, and a long one costs no memory. A Redis that holds its connections and says
 * nothing for as long is given up in the same way.
 */
import type { Redis, RedisOptions } from 'ioredis';
import type { Clock } from '../base/clock.js';

/** Covers a break of 2 s, the next try to connect, and the greeting. */
export const BREAK_MS = 2200;
const RETRY_MS = 100;

interface Item {
  command: { reject(error: Error): void };
}
/** The part that ioredis keeps to itself: commands that wait, and those that were in flight when the connection broke. */
interface Waiting {
  flushQueue(error: Error, which: { commandQueue: boolean }): void;
  prevCommandQueue: { shift(): Item | undefined } | null;
}

/** The options of a connection whose patience is bounded. */
export const PATIENT = {
  maxRetriesPerRequest: null,
  commandTimeout: BREAK_MS,
  socketTimeout: BREAK_MS,
  // Somebody waits, so the next try comes soon, and a try that nobody answers ends soon.
  retryStrategy: (attempt: number) => Math.min(25 * 2 ** attempt, RETRY_MS) * (0.75 + Math.random() / 2),
  connectTimeout: BREAK_MS / 2,
  maxLoadingRetryTime: RETRY_MS,
} as const satisfies RedisOptions;

/** Has whatever waits on the connection fail when Redis has been away for `BREAK_MS`. */
export function boundPatience(redis: Redis, clock: Clock): void {
  let cancel: (() => void) | null = null;

  function giveUp(): void {
    redis.options.enableOfflineQueue = false;
    const waiting = redis as unknown as Waiting;
    const error = new Error('Command timed out');
    // A connection that is being made has commands of its own in flight, which must be answered.
    waiting.flushQueue(error, { commandQueue: redis.status === 'ready' });
    const { prevCommandQueue } = waiting;
    for (let item = prevCommandQueue?.shift(); item; item = prevCommandQueue?.shift())
      item.command.reject(error);
  }

  redis.on('close', () => {
    cancel ??= clock.after(BREAK_MS, giveUp);
  });
  redis.on('error', ({ message }: Error) => {
    // Redis said nothing for as long as anybody waits. ioredis closes the connection next.
    if (message.startsWith('Socket timeout') && redis.status === 'ready') giveUp();
  });
  redis.on('ready', () => {
    cancel?.();
    cancel = null;
    redis.options.enableOfflineQueue = true;
  });
  redis.once('end', () => cancel?.());
}

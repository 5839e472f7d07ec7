/**
 * Connections to Redis, by purpose.
 *
 * - `request`: somebody waits for the answer. Fails within `ANSWER_WITHIN_MS`, queues nothing while Redis is away.
 *   A command that timed out may still have been carried out.
 * - `work`: nobody waits. Commands are held and sent again until Redis is back; required by BullMQ workers.
 * - `listen`: subscriptions and blocking reads; as `work`.
 *
 * Commands of one tick travel as one pipeline. A cut that nobody announces is noticed after `SOCKET_TIMEOUT_MS`, which
 * has to exceed the 10 s for which BullMQ blocks at most.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis, type RedisOptions } from 'ioredis';
import { type Clock, sleep, systemClock } from '../base/clock.js';
import { ConfigError } from '../base/config.js';
import { messageOf, Refusal } from '../base/errors.js';
import { ADDRESS_FILE, type Config } from '../contract/config.js';

export type { Redis } from 'ioredis';
export type Purpose = 'request' | 'work' | 'listen';

/** The longest that somebody waits for one command. */
const ANSWER_WITHIN_MS = 2000;
/** A pipeline waits for the one before it, so that a command may wait for two time-outs. */
const COMMAND_TIMEOUT_MS = ANSWER_WITHIN_MS / 2;
const SOCKET_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** How long a process that ends waits for a Redis that is away. */
const AWAY_MS = 5000;
const PING_MS = 500;
const DEFAULT_PORT = 6379;
/** For how long a process that starts waits for a Redis that is away, or loads its data. */
const START_WITHIN_MS = 15_000;
/** When it says so for the first time, and how often from then on. */
const WAITING_AFTER_MS = 1000;
const WAITING_EVERY_MS = 5000;

export function redisUrl(config: Config): string {
  if (config.REDIS_URL) return config.REDIS_URL;
  try {
    return readFileSync(join(config.SLUICE_DATA_DIR, ADDRESS_FILE), 'utf8').trim();
  } catch {
    throw new ConfigError('No Redis: set REDIS_URL, or run `npm start`, which brings one.');
  }
}

const retryStrategy = (attempt: number) => Math.min(50 * 2 ** attempt, 1000) + Math.random() * 50;

const OPTIONS = {
  request: {
    enableAutoPipelining: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: COMMAND_TIMEOUT_MS,
  },
  work: { enableAutoPipelining: true, maxRetriesPerRequest: null },
  listen: { maxRetriesPerRequest: null },
} as const satisfies Record<Purpose, RedisOptions>;

/**
 * Opens a connection and waits until it is ready, for `START_WITHIN_MS` at most: whoever starts a process may start its
 * Redis at the same time. Until then `onWaiting` hears, now and then, for whom it waits and why; from then on `onError` hears
 * of every fault.
 */
export async function openRedis(
  url: string,
  purpose: Purpose,
  onError: (error: Error) => void,
  onWaiting: (why: string) => void = () => undefined,
): Promise<Redis> {
  const redis = new Redis(url, {
    ...OPTIONS[purpose],
    retryStrategy,
    socketTimeout: SOCKET_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 5000,
    lazyConnect: true,
  });
  let isOpen = false;
  let reason = 'it does not answer';
  // Without somebody who hears of them, errors would crash the process.
  redis.on('error', (error: NodeJS.ErrnoException) => {
    reason = reasonOf(error) ?? reason;
    if (isOpen) onError(error);
  });
  const ready = new Promise<void>((resolve) => redis.once('ready', resolve));
  // It tries again by itself.
  redis.connect().catch(() => undefined);
  const place = placeOf(url);
  isOpen = await isInTime(ready, () => onWaiting(`waiting for Redis at ${place}: ${reason}`));
  if (!isOpen) {
    redis.disconnect();
    throw new Refusal(`Redis at ${place} cannot be reached: ${reason}.`);
  }
  return redis;
}

/** False when Redis was not ready within `START_WITHIN_MS`. */
async function isInTime(ready: Promise<void>, tell: () => void): Promise<boolean> {
  const stop = new AbortController();
  const isLate = sleep(systemClock, START_WITHIN_MS, stop.signal).then(() => false);
  const cancels = [systemClock.after(WAITING_AFTER_MS, tell), systemClock.every(WAITING_EVERY_MS, tell)];
  const came = await Promise.race([ready.then(() => true), isLate]);
  for (const cancel of cancels) cancel();
  stop.abort();
  return came;
}

/** Where a name has several addresses, the error of all has a code and no text. A path may begin with user and password. */
function reasonOf({ message, code }: NodeJS.ErrnoException): string | undefined {
  return message.replace(/\/\/\S*@/g, '//') || code;
}

/** Without user and password. */
function placeOf(url: string): string {
  if (!URL.canParse(url)) return 'REDIS_URL';
  const { protocol, hostname, port, pathname } = new URL(url);
  return protocol === 'unix:' ? pathname : `${hostname || 'localhost'}:${port || DEFAULT_PORT}`;
}

/**
 * Once `draining`, calls `giveUp` when Redis has not answered for `AWAY_MS`: whatever is closed then waits for it, BullMQ's
 * workers as long as it takes. What they have not settled is taken again elsewhere when their locks have run out.
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

/** A Lua script as a function of its keys and arguments. */
export type Script<Reply> = (
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
) => Promise<Reply>;

type ScriptCommand = (body: string, ...rest: unknown[]) => Promise<unknown>;

/**
 * Returns a Lua script as a function. Redis keeps scripts by their hash (EVALSHA); one that it has forgotten is sent whole again.
 *
 * ioredis' own `defineCommand` copies every script of a connection into each pipeline, which takes 1 to 3 µs a script.
 * @param binary keeps replies as Buffers.
 */
export function defineScript<Reply>(redis: Redis, lua: string, binary = false): Script<Reply> {
  const sha = createHash('sha1').update(lua).digest('hex');
  const commands = redis as unknown as Record<`eval${'' | 'sha'}${'' | 'Buffer'}`, ScriptCommand>;
  const [call, send] = binary ? (['evalshaBuffer', 'evalBuffer'] as const) : (['evalsha', 'eval'] as const);
  return async (keys, args) => {
    try {
      return (await commands[call](sha, keys.length, ...keys, ...args)) as Reply;
    } catch (error) {
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      return (await commands[send](lua, keys.length, ...keys, ...args)) as Reply;
    }
  };
}

/** Refuses a Redis that may forget an accepted job: one that evicts keys, or that keeps no append-only file. */
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

/** Whether an error says that Redis could not be reached or would not serve, rather than that we asked wrongly. */
export function isRedisFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'MaxRetriesPerRequestError' || error.name === 'AbortError') return true;
  return /^(Command timed out|Connection is closed|Stream isn't writeable|Socket timeout|connect E|LOADING|OOM|MISCONF|READONLY|read E|write E)/.test(
    error.message,
  );
}

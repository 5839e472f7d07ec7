/**
 * Connections to Redis, by purpose.
 *
 * - `request`: somebody waits for the answer. Commands are held and sent again over a short break (patience.ts). A command
 *   that fails may still have been carried out.
 * - `work`: nobody waits. Commands are held and sent again until Redis is back, as BullMQ's workers need it.
 * - `listen`: subscriptions and blocking reads, which are sent again like those of `work`.
 *
 * Each follows the primary (primary.ts). Commands of one tick travel as one pipeline. A cut that nobody announces is noticed
 * after `SOCKET_TIMEOUT_MS`, which must exceed the 10 s for which BullMQ blocks at most.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis, RedisOptions } from 'ioredis';
import { sleep, systemClock } from '../base/clock.js';
import { ConfigError } from '../base/config.js';
import { Refusal } from '../base/errors.js';
import { requirePackage } from '../base/packages.js';
import { ADDRESS_FILE, type Config } from '../contract/config.js';
import { boundPatience, PATIENT } from './patience.js';
import { leaveReplicas, primaryOptions, reconnectOnRefusal, sentinelOptions } from './primary.js';
import { mendTornPipelines } from './torn-pipelines.js';

export type { Redis } from 'ioredis';
export type Purpose = 'request' | 'work' | 'listen';

const SOCKET_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_PORT = 6379;
/** A process that starts waits so long for a Redis that is away or loads its data. */
const START_WITHIN_MS = 15_000;
/** A process that waits says so after this time, and then again in this period. */
const WAITING_AFTER_MS = 1000;
const WAITING_EVERY_MS = 5000;

/**
 * Returns the URL of Redis: the configured one, else the one of the launcher.
 *
 * @throws {ConfigError} when there is neither
 */
export function redisUrl(config: Config): string {
  if (config.REDIS_URL) return config.REDIS_URL;
  try {
    return readFileSync(join(config.SLUICE_DATA_DIR, ADDRESS_FILE), 'utf8').trim();
  } catch {
    throw new ConfigError('No Redis: set REDIS_URL, or run `npm start`, which brings one.');
  }
}

const client = requirePackage('ioredis') as typeof import('ioredis');

const retryStrategy = (attempt: number) => Math.min(50 * 2 ** attempt, 1000) + Math.random() * 50;

const OPTIONS = {
  request: { enableAutoPipelining: true, ...PATIENT },
  work: { enableAutoPipelining: true, maxRetriesPerRequest: null },
  listen: { maxRetriesPerRequest: null },
} as const satisfies Record<Purpose, RedisOptions>;

/**
 * Opens a connection and waits until it is ready, because Redis may be starting at the same time. Until then `onWaiting` hears
 * now and then where Redis should be and what is wrong; from then on `onError` hears of every fault.
 *
 * @throws {Refusal} when Redis is not ready within `START_WITHIN_MS`
 */
export async function openRedis(
  url: string,
  purpose: Purpose,
  onError: (error: Error) => void,
  onWaiting: (why: string) => void = () => undefined,
): Promise<Redis> {
  let isOpen = false;
  let reason = 'it does not answer';
  const onReplica = () => {
    reason = 'it is a replica, and Sluice writes';
  };
  const sentinels = sentinelOptions(url);
  const options = {
    retryStrategy,
    socketTimeout: SOCKET_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 5000,
    ...OPTIONS[purpose],
    // The client checks the role of a node that sentinels name by itself.
    ...(sentinels ?? primaryOptions(onReplica)),
    reconnectOnError: reconnectOnRefusal,
    lazyConnect: true,
  };
  const redis = sentinels ? new client.Redis(options) : new client.Redis(url, options);
  if (purpose === 'request') boundPatience(redis, systemClock);
  leaveReplicas(redis, systemClock);
  mendTornPipelines(redis);
  // An error without a listener would crash the process.
  redis.on('error', (error: NodeJS.ErrnoException) => {
    reason = reasonOf(error) ?? reason;
    if (isOpen) onError(error);
  });
  const ready = new Promise<void>((resolve) => redis.once('ready', resolve));
  // The client tries again by itself.
  redis.connect().catch(() => undefined);
  const place = placeOf(url);
  isOpen = await isInTime(ready, () => onWaiting(`waiting for Redis at ${place}: ${reason}`));
  if (!isOpen) {
    redis.disconnect();
    throw new Refusal(`Redis at ${place} cannot be reached: ${reason}.`);
  }
  return redis;
}

/** Resolves to false when Redis was not ready within `START_WITHIN_MS`. */
async function isInTime(ready: Promise<void>, tell: () => void): Promise<boolean> {
  const stop = new AbortController();
  const isLate = sleep(systemClock, START_WITHIN_MS, stop.signal).then(() => false);
  const cancels = [systemClock.after(WAITING_AFTER_MS, tell), systemClock.every(WAITING_EVERY_MS, tell)];
  const came = await Promise.race([ready.then(() => true), isLate]);
  for (const cancel of cancels) cancel();
  stop.abort();
  return came;
}

/** Returns the reason of an error without user and password. The error of a name with several addresses has a code but no text. */
function reasonOf({ message, code }: NodeJS.ErrnoException): string | undefined {
  return message.replace(/\/\/\S*@/g, '//') || code;
}

/** Returns the address in a URL without user and password. */
function placeOf(url: string): string {
  const { name, sentinels } = sentinelOptions(url) ?? {};
  if (sentinels) return `${name}, by ${sentinels.map(({ host, port }) => `${host}:${port}`).join(', ')}`;
  if (!URL.canParse(url)) return 'REDIS_URL';
  const { protocol, hostname, port, pathname } = new URL(url);
  return protocol === 'unix:' ? pathname : `${hostname || 'localhost'}:${port || DEFAULT_PORT}`;
}

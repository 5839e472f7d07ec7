/**
 * Sluice on one machine: Redis, the API and a worker, each in its own process.
 *
 * Redis starts first, then the API and the worker. They stop in the order API, worker, Redis, within `CHILDREN_STOP_MS` +
 * `REDIS_STOP_MS`. A program that crashes is started again; one that refuses its configuration brings the whole down. A
 * launch that fails leaves nothing running.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Clock, sleep, systemClock } from '../../shared/base/clock.js';
import { ConfigError, inheritedEnvironment } from '../../shared/base/config.js';
import { ADDRESS_FILE, API_ADDRESS_FILE, type Config } from '../../shared/contract/config.js';
import { ensureApiKey } from './api-key.js';
import { endLeftovers, takeFolder } from './leftovers.js';
import { claimMetricsPorts, claimPort, type MetricsPorts, urlOf } from './listen-address.js';
import { type LogFile, type Logs, openLogs } from './logs.js';
import { NODE_ENVIRONMENT, start } from './process.js';
import { findRedisProgram } from './redis/find-redis.js';
import { REDIS_STOP_MS, startRedis } from './redis/redis.js';
import { type Supervised, supervise } from './supervisor.js';

export interface LaunchOptions {
  config: Config;
  /** Scripts of the API and of the worker, the same as in production. */
  entries: { api: string; worker: string };
  tell(line: string): void;
  /** Ends a launch that is not finished. */
  signal: AbortSignal;
  clock?: Clock;
}

export interface Launched {
  readonly address: string;
  readonly apiKey: string;
  /** Names the Redis in use, for people. */
  readonly redis: string;
  /** The ports of `/metrics`. */
  readonly metrics: MetricsPorts;
  /** Resolves when the API or the worker has given up; the caller must still call `stop`. */
  readonly failed: Promise<void>;
  stop(): Promise<void>;
  /** Starts the API and the worker anew, and resolves once the API answers; Redis and all that is in it stay. */
  restart(): Promise<void>;
  /** Ends the API and the worker at once, also in the middle of `stop`. */
  kill(): void;
}

/** Shorter than the 25 s that they give themselves, because Redis ends after them and all must end within 25 s. */
export const CHILDREN_STOP_MS = 20_000;
/** The worker goes on for this long, for the requests that the API is still answering. */
const API_HEAD_START_MS = 3000;
/** A restart is for whoever changes the code: it does not wait long for the requests and jobs under way. */
const RESTART_GRACE_MS = 500;
const READY_TIMEOUT_MS = 30_000;
const READY_POLL_MS = 25;

/**
 * Brings Sluice up and resolves once the API answers.
 *
 * @throws {ConfigError} when the folder is in use, the port is taken, no Redis is to be had, or a program refuses its
 *   configuration; an Error when the API is not ready within 30 s or `signal` aborts
 */
export async function launch(options: LaunchOptions): Promise<Launched> {
  const { config, tell, clock = systemClock } = options;
  const dataDir = resolve(config.SLUICE_DATA_DIR);
  const runDir = join(dataDir, 'run');
  const closers: (() => unknown)[] = [];
  const stop = async () => {
    for (let close = closers.pop(); close; close = closers.pop()) await close();
  };
  try {
    closers.push(takeFolder(dataDir, runDir));
    await endLeftovers(runDir, clock, tell);
    for (const name of [ADDRESS_FILE, API_ADDRESS_FILE]) rmSync(join(dataDir, name), { force: true });
    const logs = openLogs(join(dataDir, 'logs'), clock);
    closers.push(logs.close);
    const port = await claimPort(config.HOST, config.PORT);
    const metrics = await claimMetricsPorts(config, port, tell);
    const apiKey = ensureApiKey(dataDir, config.SLUICE_BOOTSTRAP_KEY);
    const redis = await openRedis({ ...options, clock }, dataDir, logs, closers);

    const child = (name: 'api' | 'worker', environment: Record<string, string>) => {
      const own = { ...environment, SLUICE_METRICS_PORT: String(metrics[name]) };
      return keepRunning(name, options.entries[name], own, runDir, logs.begin(name), clock, tell);
    };
    const both = { REDIS_URL: redis.url, ...webhookNetworks() };
    const api = child('api', { ...both, PORT: String(port), SLUICE_BOOTSTRAP_KEY: apiKey });
    const worker = child('worker', both);
    closers.push(() => stopChildren(api, worker, clock));

    const address = urlOf(config.HOST, port);
    const failed = Promise.race([api.ended, worker.ended]).then(() => undefined);
    const ready = () => untilReady(address, failed, options.signal, clock);
    await ready();
    closers.push(tellAddress(join(dataDir, API_ADDRESS_FILE), address));
    const restart = async () => {
      await Promise.all([api.restart(RESTART_GRACE_MS), worker.restart(RESTART_GRACE_MS)]);
      await ready();
    };
    const kill = () => {
      api.kill();
      worker.kill();
    };
    return { address, apiKey, redis: redis.origin, metrics, failed, stop, restart, kill };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function openRedis(
  options: LaunchOptions & { clock: Clock },
  dataDir: string,
  logs: Logs,
  closers: (() => unknown)[],
): Promise<{ url: string; origin: string }> {
  const { config, tell, clock, signal } = options;
  if (config.REDIS_URL) return { url: config.REDIS_URL, origin: 'the one of REDIS_URL' };

  const program = await findRedisProgram({ cacheDir: resolve(config.SLUICE_CACHE_DIR), tell, signal });
  const log = logs.begin('redis');
  const settings = {
    program,
    hasPassword: true,
    dir: join(dataDir, 'redis'),
    logFile: log.path,
    pidFile: join(dataDir, 'run', 'redis.pid'),
    clock,
    signal,
  };
  const server = await startRedis(settings);
  const restart = () => {
    log.mark();
    return startRedis({ ...settings, port: server.port });
  };
  const kept = supervise({ name: 'Redis', start: restart, clock, tell, lastWords: log.lastWords }, server);
  closers.push(() => kept.stop(REDIS_STOP_MS));
  closers.push(tellAddress(join(dataDir, ADDRESS_FILE), server.url));
  return { url: server.url, origin: server.origin };
}

/** Tells other programs of this user an address; returns the function that takes it back. */
function tellAddress(file: string, address: string): () => void {
  writeFileSync(file, `${address}\n`, { mode: 0o600 });
  return () => rmSync(file, { force: true });
}

/** Webhooks may reach programs on this machine, unless the user has configured which networks they may reach. */
function webhookNetworks(): Record<string, string> {
  const name = 'SLUICE_WEBHOOK_ALLOW_PRIVATE';
  return name in inheritedEnvironment({}) ? {} : { [name]: '127.0.0.0/8,::1/128' };
}

function keepRunning(
  name: 'api' | 'worker',
  entry: string,
  environment: Record<string, string>,
  runDir: string,
  log: LogFile,
  clock: Clock,
  tell: (line: string) => void,
): Supervised {
  const begin = () => {
    log.mark();
    return start({
      command: process.execPath,
      args: [entry],
      environment: { ...NODE_ENVIRONMENT, ...environment },
      logFile: log.path,
      pidFile: join(runDir, `${name}.pid`),
    });
  };
  return supervise({ name: `The ${name}`, start: begin, clock, tell, lastWords: log.lastWords });
}

async function stopChildren(api: Supervised, worker: Supervised, clock: Clock): Promise<void> {
  const apiStopped = new AbortController();
  const stopping = api.stop(CHILDREN_STOP_MS).finally(() => apiStopped.abort());
  await sleep(clock, API_HEAD_START_MS, apiStopped.signal);
  await Promise.all([stopping, worker.stop(CHILDREN_STOP_MS - API_HEAD_START_MS)]);
}

async function untilReady(
  address: string,
  failed: Promise<void>,
  signal: AbortSignal,
  clock: Clock,
): Promise<void> {
  let isOver = false;
  void failed.then(() => {
    isOver = true;
  });
  const startedMs = clock.monotonic();
  while (!(await isReady(address, clock))) {
    if (signal.aborted) throw new Error('stopped while starting');
    if (isOver) throw new ConfigError('Sluice cannot run like this.');
    if (clock.monotonic() - startedMs > READY_TIMEOUT_MS)
      throw new Error(`The API was not ready within ${READY_TIMEOUT_MS / 1000} s; its log tells more.`);
    await sleep(clock, READY_POLL_MS);
  }
}

async function isReady(address: string, clock: Clock): Promise<boolean> {
  const late = new AbortController();
  const cancel = clock.after(1000, () => late.abort());
  try {
    const response = await fetch(`${address}/readyz`, { signal: late.signal });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  } finally {
    cancel();
  }
}

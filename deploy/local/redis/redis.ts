/**
 * A Redis of our own on one folder: durable, on loopback only, with a password if asked, in its own process group.
 *
 * States: starting -> serving (it answered PING) -> ended. Promises: no two servers share a folder, because a server that an
 * earlier launcher left behind is ended first; every acknowledged write is on disk within a second, and at once after a
 * clean stop.
 */
import { mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { constrainedMemory } from 'node:process';
import { type Clock, sleep, systemClock } from '../../../shared/base/clock.js';
import { lastLines } from '../../run-command.js';
import { type EndSignal, type Exit, end, endRemembered, type Running, start } from '../process.js';
import { findRedisProgram } from './find-redis.js';
import { ensureRedisPassword, PASSWORD_SETTINGS } from './password.js';
import { ping, type RedisPlace } from './ping.js';
import type { FindOptions, RedisProgram } from './redis-program.js';

export interface RedisOptions {
  /** The folder of the append-only file. */
  dir: string;
  logFile: string;
  pidFile: string;
  program: RedisProgram;
  /** Whether clients need the password of the folder, which is made when there is none. */
  hasPassword?: boolean;
  /** A free port is taken when missing. */
  port?: number;
  clock?: Clock;
  signal?: AbortSignal | undefined;
}

export interface RedisServer extends Running {
  /** The address, with the password if there is one. */
  readonly url: string;
  readonly port: number;
  /** Names the program, for people. */
  readonly origin: string;
  /** Ends the server, with everything written to disk. */
  stop(graceMs?: number): Promise<void>;
}

export const REDIS_STOP_MS = 4000;
const ANSWER_TIMEOUT_MS = 15_000;
/** Redis answers LOADING while it reads a large append-only file, if it has the time to answer. */
const LOADING_TIMEOUT_MS = 300_000;
const POLL_MS = 10;
const TRIES = 3;

/**
 * Resolves to a Redis that serves; rejects, with the end of its log, when it does not come up in time.
 *
 * @throws {ConfigError} when the file of the password holds something else
 */
export async function startRedis(options: RedisOptions): Promise<RedisServer> {
  const { program, clock = systemClock } = options;
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  const dir = realpathSync(options.dir);
  const password = options.hasPassword ? ensureRedisPassword(dir) : null;
  await endRemembered(options.pidFile, REDIS_STOP_MS, clock);
  await program.remove?.(dir);

  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    const running = launch({ ...options, dir }, port);
    try {
      await answered(running, { port, password }, options.logFile, clock, options.signal);
      return serverOf(running, { port, password }, dir, program, clock);
    } catch (error) {
      await end(running, REDIS_STOP_MS, clock);
      await program.remove?.(dir);
      // Another program may have taken the port since it was found free.
      const isTaken = options.port === undefined && /in use/i.test(String(error));
      if (!isTaken || attempt === TRIES) throw error;
    }
  }
}

function launch(options: RedisOptions, port: number): Running {
  const { program, dir, hasPassword } = options;
  const redis = [...redisSettings(machineMemory()), ...(hasPassword ? PASSWORD_SETTINGS : [])];
  return start({
    ...program.command({ dir, port, redis }),
    environment: program.environment,
    cwd: dir,
    logFile: options.logFile,
    pidFile: options.pidFile,
  });
}

/** Returns the settings of redis.conf, as arguments, for a machine of that much memory. */
export function redisSettings(memoryBytes: number): string[] {
  return [
    ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
    // Redis answers "out of memory" to a submit rather than forgetting an accepted job.
    ...['--maxmemory-policy', 'noeviction', '--maxmemory', String(Math.floor(memoryBytes / 2))],
  ];
}

/** Returns the memory in bytes that this process may use: in a container its limit, else all of the machine. */
function machineMemory(): number {
  const limit = constrainedMemory();
  return limit > 0 ? Math.min(totalmem(), limit) : totalmem();
}

async function answered(
  running: Running,
  place: RedisPlace,
  logFile: string,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<void> {
  let exit: Exit | undefined;
  void running.exited.then((ended) => {
    exit = ended;
  });
  const startedMs = clock.monotonic();
  let limitMs = ANSWER_TIMEOUT_MS;
  for (;;) {
    const answer = await ping(place);
    // Another program may have answered on this port, so ours must still run.
    if (exit) throw new Error(`Redis ended while starting:\n${exit.error?.message ?? logTail(logFile)}`);
    if (answer === '+PONG') return;
    if (signal?.aborted) throw new Error('stopped while Redis was starting');
    if (answer?.startsWith('-LOADING')) limitMs = LOADING_TIMEOUT_MS;
    if (clock.monotonic() - startedMs > limitMs)
      throw new Error(`Redis did not answer within ${limitMs / 1000} s:\n${logTail(logFile)}`);
    await sleep(clock, POLL_MS);
  }
}

function serverOf(
  running: Running,
  { port, password }: RedisPlace,
  dir: string,
  program: RedisProgram,
  clock: Clock,
): RedisServer {
  const signal = (name: EndSignal) => {
    running.signal(name);
    // SIGKILL ends the docker command but not its container.
    if (name === 'SIGKILL') void program.remove?.(dir);
  };
  return {
    pid: running.pid,
    exited: running.exited,
    signal,
    url: `redis://${password === null ? '' : `:${password}@`}127.0.0.1:${port}`,
    port,
    origin: program.origin,
    async stop(graceMs = REDIS_STOP_MS) {
      await end({ ...running, signal }, graceMs, clock);
    },
  };
}

/** Starts a server that keeps all its files in one folder. The program is found when none is given. */
export async function startRedisIn(
  folder: string,
  options: FindOptions & { program?: RedisProgram; port?: number; hasPassword?: boolean; clock?: Clock },
): Promise<RedisServer> {
  const { cacheDir, tell, program, ...rest } = options;
  return startRedis({
    ...rest,
    dir: join(folder, 'redis'),
    logFile: join(folder, 'logs', 'redis.log'),
    pidFile: join(folder, 'run', 'redis.pid'),
    program: program ?? (await findRedisProgram({ cacheDir, tell, signal: rest.signal })),
  });
}

/** Resolves to a TCP port of loopback on which nobody listens at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

function logTail(logFile: string): string {
  try {
    return lastLines(readFileSync(logFile, 'utf8'), 5);
  } catch {
    return `(nothing in ${dirname(logFile)})`;
  }
}

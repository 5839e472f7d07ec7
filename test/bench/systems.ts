/**
 * The systems under load: started as production runs them, each with a Redis of its own, ready before they are loaded.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Exit, end, NODE_ENVIRONMENT, type Running, start } from '../../deploy/local/process.js';
import { freePort, type RedisServer, startRedisIn } from '../../deploy/local/redis/redis.js';
import { lastLines } from '../../deploy/run-command.js';
import { systemClock as clock, sleep } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { openRedis } from '../../shared/redis/connect.js';
import { type Site, tell } from './site.js';

/** A system that serves HTTP. */
export interface System {
  origin: string;
  /** Empty where callers need none. */
  apiKey: string;
  /** The process ids of the system, that of the process which serves HTTP first; the children of these processes are found by them. */
  pids: readonly [number, ...number[]];
  /** Null for one without a queue. */
  redis: RedisServer | null;
}

const STOP_MS = 5000;
const READY_MS = 60_000;
const POLL_MS = 50;
/** Where this file and, by links, the product stand compiled. */
const COMPILED = resolve(import.meta.dirname, '../..');

/** Starts a Redis of its own for a system; `name` names its folder. */
export async function openRedisFor(site: Site, name: string): Promise<RedisServer> {
  const { program, signal } = site;
  const { SLUICE_CACHE_DIR: cacheDir } = loadConfig();
  const folder = join(site.folder, name);
  const redis = await startRedisIn(folder, { program, cacheDir, signal, tell: () => undefined });
  site.defer(() => redis.stop());
  await keepFileAsItGrows(redis.url);
  return redis;
}

/** Redis would rewrite its file whenever that has doubled, beside whatever is measured then. */
async function keepFileAsItGrows(url: string): Promise<void> {
  const connection = await openRedis(url, 'work', (error) => tell(String(error)));
  await connection.config('SET', 'auto-aof-rewrite-percentage', 0);
  connection.disconnect();
}

/** Starts the API and one worker; `more` are further variables of theirs. */
export async function startSluice(site: Site, more: Record<string, string> = {}): Promise<System> {
  const redis = await openRedisFor(site, 'sluice');
  const port = await freePort();
  const apiKey = `slk_${randomBytes(16).toString('hex')}`;
  const environment = {
    ...NODE_ENVIRONMENT,
    REDIS_URL: redis.url,
    PORT: String(port),
    LOG_LEVEL: 'warn',
    SLUICE_BOOTSTRAP_KEY: apiKey,
    SLUICE_DATA_DIR: join(site.folder, 'sluice'),
    SLUICE_METRICS_PORT: '0',
    SLUICE_KEY_PREFIX: '{bench}',
    ...more,
  };
  const api = startProgram(site, 'api', 'api/main.js', environment);
  const worker = startProgram(site, 'worker', 'worker/main.js', environment);
  const origin = `http://127.0.0.1:${port}`;
  const authorization = { authorization: `Bearer ${apiKey}` };
  await untilReady(site, [api, worker], async () => {
    if ((await fetch(`${origin}/readyz`)).status !== 200) return false;
    const answer = await fetch(`${origin}/v1/models/mnist`, { headers: authorization });
    return answer.status === 200 && isServed(await answer.json());
  });
  return { origin, apiKey, pids: [pidOf(api), pidOf(worker)], redis };
}

export interface BenchWorker {
  /** Returns the metrics of the worker, in Prometheus' text format. */
  metrics(): Promise<string>;
  stop(): Promise<unknown>;
}

/** Starts a worker without an API; `environment` names its Redis and all else that it needs, `entry` its program. */
export async function startWorker(
  site: Site,
  name: string,
  environment: Record<string, string>,
  entry = 'worker/main.js',
): Promise<BenchWorker> {
  const port = await freePort();
  const own = { ...NODE_ENVIRONMENT, LOG_LEVEL: 'warn', SLUICE_METRICS_PORT: String(port), ...environment };
  const worker = startProgram(site, name, entry, own);
  const origin = `http://127.0.0.1:${port}`;
  await untilReady(site, [worker], async () => (await fetch(`${origin}/readyz`)).status === 200);
  return {
    metrics: async () => (await fetch(`${origin}/metrics`)).text(),
    stop: () => endProgram(worker),
  };
}

/** A program that a bench has started. */
export interface Program {
  name: string;
  running: Running;
  logFile: string;
  exit?: Exit;
}

/** Starts `entry`, a path among the compiled files, on the Node that is measured. */
export function startProgram(
  site: Site,
  name: string,
  entry: string,
  environment: Record<string, string>,
): Program {
  const logFile = join(site.folder, `${name}.log`);
  const pidFile = join(site.folder, `${name}.pid`);
  const args = [join(COMPILED, entry)];
  const running = start({ command: site.node, args, environment, logFile, pidFile });
  const program: Program = { name, running, logFile };
  void running.exited.then((exit) => {
    program.exit = exit;
  });
  site.defer(() => endProgram(program));
  return program;
}

/** Resolves once `isReady` does to true; rejects with the logs when a program ends before, or none is ready in a minute. */
export async function untilReady(
  site: Site,
  programs: Program[],
  isReady: () => Promise<boolean>,
): Promise<void> {
  const startedMs = clock.monotonic();
  while (!(await isReady().catch(refusedMeansFalse))) {
    if (site.signal.aborted) throw new Error('interrupted');
    const ended = programs.find((program) => program.exit);
    if (ended) throw new Error(`${ended.name} ended before it was ready:\n${logOf(ended)}`);
    if (clock.monotonic() - startedMs > READY_MS) {
      const logs = programs.map((program) => `${program.name}: ${logOf(program)}`);
      throw new Error(`not ready within ${READY_MS / 1000} s\n${logs.join('\n')}`);
    }
    await sleep(clock, POLL_MS);
  }
}

/** Nobody listens yet. */
function refusedMeansFalse(error: unknown): false {
  if (error instanceof TypeError) return false;
  throw error;
}

function isServed(model: unknown): boolean {
  const { versions = [] } = model as { versions?: { state: string; error: unknown }[] };
  const failed = versions.find((version) => version.state === 'failed');
  if (failed) throw new Error(`the worker refused the model: ${JSON.stringify(failed.error)}`);
  return versions.some((version) => version.state === 'ready');
}

/** Returns the process id of a program that runs. */
export function pidOf({ name, running }: Program): number {
  if (running.pid === undefined) throw new Error(`${name} could not be started`);
  return running.pid;
}

/** Ends a program, by force after five seconds. */
export function endProgram({ running }: Program): Promise<Exit> {
  return end(running, STOP_MS, clock);
}

function logOf({ logFile }: Program): string {
  return lastLines(readFileSync(logFile, 'utf8'), 20) || '(it said nothing)';
}

/**
 * Sluice as it runs in production, for black-box tests: the built entry points as processes of their own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** The folder of the repository, for this file as it is and as compiled into `.build`. */
export const ROOT = resolve(import.meta.dirname, '../..').replace(/\/\.build$/, '');

/** For a stack that serves `upscale` too, which costs each of its children as much as everything else that it starts with. */
export const BOTH_MODELS = { SLUICE_MODELS_DIR: join(ROOT, 'deploy/models') };

/** The tries and the pauses between them make 20 s. */
const READY_TRIES = 200;
const READY_PAUSE_MS = 100;

type Request = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer>;

export interface Api {
  process: ChildProcess;
  url: string;
  request: Request;
}

export interface Stack {
  /** The address of the first API. */
  url: string;
  key: string;
  prefix: string;
  dataDir: string;
  /** Starts one more API on the same Redis, on a free port unless `PORT` is given. */
  addApi(env?: Record<string, string>): Promise<Api>;
  /** Starts one more worker with the same queues. */
  addWorker(env?: Record<string, string>): ChildProcess;
  /** The first API. */
  api: ChildProcess;
  apis: Api[];
  /** Ends the first API and starts another in its place; answers its exit code. */
  restartApi(): Promise<number | null>;
  workers: ChildProcess[];
  /** Returns everything that the processes wrote. */
  output(): string;
  /** Asks the first API. */
  request: Request;
  /** Resolves when an API answers, the first one unless another is given. */
  apiReady(api?: Api): Promise<void>;
  /** Resolves when a worker has served mnist. */
  ready(): Promise<void>;
  close(): Promise<void>;
}

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of every form
  body: any;
}

/** Starts an API and workers that serve `mnist`, unless `env` says otherwise. */
export async function startStack(
  redisUrl: string,
  env: Record<string, string> = {},
  workerCount = 1,
): Promise<Stack> {
  const dataDir = mkdtempSync(join(tmpdir(), 'sluice-stack-'));
  const key = `slk_${randomBytes(16).toString('hex')}`;
  const prefix = `{t-${randomBytes(6).toString('hex')}}`;
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let written = '';
  const models = join(dataDir, 'bundled');
  cpSync(join(BOTH_MODELS.SLUICE_MODELS_DIR, 'mnist/1'), join(models, 'mnist/1'), { recursive: true });

  const start = (entry: string, more: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [join(ROOT, 'dist', entry, 'main.js')], {
      cwd: ROOT,
      env: {
        ...clean(process.env),
        PORT: String(port),
        REDIS_URL: redisUrl,
        LOG_LEVEL: 'warn',
        SLUICE_DATA_DIR: dataDir,
        SLUICE_MODELS_DIR: models,
        SLUICE_KEY_PREFIX: prefix,
        SLUICE_BOOTSTRAP_KEY: key,
        SLUICE_METRICS_PORT: '0',
        SLUICE_BACKEND: 'wasm',
        SLUICE_WEBHOOK_ALLOW_PRIVATE: '127.0.0.0/8',
        ...env,
        ...more,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout?.on('data', (text) => (written += text));
    child.stderr?.on('data', (text) => (written += text));
    return child;
  };

  const requestOf =
    (url: string): Request =>
    async (method, path, body, headers = {}) => {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        body: text === '' ? null : JSON.parse(text),
      };
    };

  const request = requestOf(url);
  const api = start('api');
  const stack: Stack = {
    url,
    key,
    prefix,
    dataDir,
    api,
    apis: [{ process: api, url, request }],
    workers: [],
    async addApi(more = {}) {
      const own = more.PORT ?? String(await freePort());
      const url = `http://127.0.0.1:${own}`;
      const api = { process: start('api', { ...more, PORT: own }), url, request: requestOf(url) };
      stack.apis.push(api);
      return api;
    },
    addWorker(more = {}) {
      const worker = start('worker', more);
      stack.workers.push(worker);
      return worker;
    },
    async restartApi() {
      const code = await end(stack.api);
      stack.api = (await stack.addApi({ PORT: String(port) })).process;
      await stack.apiReady();
      return code;
    },
    output: () => written,
    request,
    async apiReady(api = stack.apis[0]) {
      if (!(await untilTrue(async () => (await api?.request('GET', '/readyz'))?.status === 200)))
        throw new Error(`The API does not answer. The processes wrote:\n${written}`);
    },
    async ready() {
      const state = async () => (await request('GET', '/v1/models/mnist')).body.versions?.[0]?.state;
      if (!(await untilTrue(async () => (await state()) === 'ready')))
        throw new Error(`mnist is not served. The processes wrote:\n${written}`);
    },
    async close() {
      await Promise.all([...stack.apis.map(({ process: each }) => each), ...stack.workers].map(end));
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  for (let i = 0; i < workerCount; i++) stack.addWorker();
  return stack;
}

export function exited(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', resolve));
}

async function end(child: ChildProcess): Promise<number | null> {
  child.kill('SIGTERM');
  // A process that a test stopped would never see the SIGTERM.
  child.kill('SIGCONT');
  return exited(child);
}

async function untilTrue(probe: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < READY_TRIES; tries++) {
    if (await probe().catch(() => false)) return true;
    await pause(READY_PAUSE_MS);
  }
  return false;
}

/** Returns the environment without what a developer may have set for Sluice. */
function clean(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !name.startsWith('SLUICE_') && name !== 'HOST'),
  );
}

/**
 * Resolves to a port on which nobody listens. It lies below the ports that systems give away by themselves (32768 on Linux,
 * 49152 elsewhere), so that none is given to another while it is not yet, or for a while not, listened on.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

/**
 * The ways to a Redis that need no network, with real servers: a PATH of a test's own holds nothing but what is put there.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { containerName, REDIS_IMAGE } from '../../deploy/local/redis/container.js';
import { findRedisProgram } from '../../deploy/local/redis/find-redis.js';
import { type RedisServer, startRedis, startRedisIn } from '../../deploy/local/redis/redis.js';
import type { RedisProgram } from '../../deploy/local/redis/redis-program.js';
import { systemClock } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import { temporaryFolder } from '../support/started-redis.js';

const tell = () => {};
const present = await findRedisProgram({ cacheDir: loadConfig().SLUICE_CACHE_DIR, tell }).catch(() => null);
const { command: server = '' } = present?.command({ dir: '/', port: 0, redis: [] }) ?? {};
const withoutServer = present === null || server === 'docker';
if (withoutServer)
  console.warn('\n!!! SKIPPED: a Redis on the PATH is not tested: this machine runs none.\n');
const withoutEngine = engineFault();
if (withoutEngine) console.warn(`\n!!! SKIPPED: a Redis in a container is not tested: ${withoutEngine}.\n`);

const systemPath = process.env.PATH ?? '';
let folder: ReturnType<typeof temporaryFolder>;
let running: RedisServer[];
/** With a space, as in the homes of some. */
let bin: string;
let cacheDir: string;

beforeEach(() => {
  folder = temporaryFolder();
  bin = join(folder.path, 'my programs');
  cacheDir = join(folder.path, 'my cache');
  mkdirSync(bin);
  vi.stubEnv('PATH', bin);
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((one) => one.stop()));
  vi.unstubAllEnvs();
  folder.remove();
});

function engineFault(): string | null {
  const docker = (...args: string[]) => execFileSync('docker', args, { stdio: 'pipe', timeout: 5000 });
  try {
    docker('version', '--format', '{{.Server.Version}}');
  } catch {
    return 'no Docker engine answers';
  }
  try {
    docker('image', 'inspect', REDIS_IMAGE);
    return null;
  } catch {
    return `the Docker engine has no image ${REDIS_IMAGE}`;
  }
}

function putScript(name: string, script: string): void {
  const file = join(bin, name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

/** The server of this machine under that name. */
function putServer(name: string): void {
  const variables = Object.entries({ PATH: systemPath, ...present?.environment });
  putScript(
    name,
    [...variables.map(([key, value]) => `export ${key}='${value}'`), `exec '${server}' "$@"`].join('\n'),
  );
}

interface Wishes {
  port?: number;
  hasPassword?: boolean;
}

async function serve(program: RedisProgram, wishes: Wishes = {}): Promise<RedisServer> {
  const one = await startRedisIn(folder.path, { cacheDir, tell, program, ...wishes });
  running.push(one);
  return one;
}

async function answer<T>(url: string, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url);
  redis.on('error', () => {});
  try {
    return await question(redis);
  } finally {
    redis.disconnect();
  }
}

const asStranger = ({ port }: RedisServer) => answer(`redis://127.0.0.1:${port}`, (redis) => redis.ping());

const find = () => findRedisProgram({ cacheDir, tell });
const faultOf = () => find().then(String, (error: Error) => error.message);

it.skipIf(withoutServer)('takes redis-server from the PATH, keeps what it is told, and stops', async () => {
  putServer('redis-server');
  putScript('valkey-server', 'exit 1');
  const first = await serve(await find());
  expect(first.origin).toMatch(/ on the PATH$/);
  await answer(first.url, (redis) => redis.set('kept', 'yes'));
  await first.stop();
  await expect(first.exited, 'which has no end by SIGKILL').resolves.toMatchObject({ signal: null });
  const second = await serve(await find());
  expect(await answer(second.url, (redis) => redis.get('kept'))).toBe('yes');
});

it.skipIf(withoutServer)('takes valkey-server where redis-server cannot be used', async () => {
  putServer('valkey-server');
  for (const unusable of ['exit 127', 'echo Redis server v=5.0.14 sha=00000000:0', 'echo hello']) {
    putScript('redis-server', unusable);
    expect((await find()).command({ dir: '/', port: 1, redis: [] }).command).toBe('valkey-server');
  }
  const { url } = await serve(await find());
  expect(await answer(url, (redis) => redis.ping())).toBe('PONG');
});

it.skipIf(withoutServer)('makes a password once, which is in no argument', async () => {
  putServer('redis-server');
  const seen = join(folder.path, 'seen');
  // A running Redis shows other arguments than it was started with.
  const script = readFileSync(join(bin, 'redis-server'), 'utf8');
  putScript('redis-server', script.replace('exec ', `echo "$@" >> '${seen}'\nexec `));
  const first = await serve(await find(), { hasPassword: true });
  await expect(asStranger(first)).rejects.toThrow(/^NOAUTH/);
  await answer(first.url, (redis) => redis.set('kept', 'yes'));
  await first.stop();
  const second = await serve(await find(), { hasPassword: true });
  expect(await answer(second.url, (redis) => redis.get('kept'))).toBe('yes');
  const { password } = new URL(second.url);
  expect(new URL(first.url).password).toBe(password);
  expect(password).toMatch(/^[0-9a-f]{64}$/);
  expect(readFileSync(seen, 'utf8')).toMatch(/--port/);
  expect(readFileSync(seen, 'utf8')).not.toContain(password);
});

it('tells of every way why it is none, and the command that helps', async () => {
  putScript('redis-server', 'echo Redis server v=5.0.14 sha=00000000:0');
  expect((await faultOf()).replace(/Install.*, or/, 'Install it, or')).toBe(
    `There is no Redis to use, and none could be had:
  - redis-server is version 5.0; 6.2 or newer is needed
  - valkey-server is not on the PATH
  - apt-get is not on the PATH to fetch the redis-server package with
  - docker is not on the PATH
Install it, or set REDIS_URL to a running one.`,
  );
});

it('names a cache folder that cannot be written', async () => {
  for (const tool of ['apt-get', 'dpkg']) putScript(tool, 'exit 0');
  writeFileSync(cacheDir, 'a file');
  expect(await faultOf()).toContain(`the folder ${cacheDir} cannot be written (EEXIST`);
});

it.skipIf(withoutEngine)('takes a container last, and ends one that was left behind', async () => {
  const docker = execFileSync('which', ['docker'], { env: { PATH: systemPath }, encoding: 'utf8' }).trim();
  symlinkSync(docker, join(bin, 'docker'));
  const program = await find();
  expect(program.origin).toBe(`container of ${REDIS_IMAGE}`);

  const first = await serve(program, { hasPassword: true });
  await expect(asStranger(first)).rejects.toThrow(/^NOAUTH/);
  await answer(first.url, (redis) => redis.set('kept', 'yes'));
  // The command only: the container goes on, and the next launch of the folder ends it.
  process.kill(first.pid as number, 'SIGKILL');
  await first.exited;
  const second = await serve(program, { port: first.port, hasPassword: true });
  expect(await answer(second.url, (redis) => redis.get('kept'))).toBe('yes');
  await second.stop();
  const name = containerName(realpathSync(join(folder.path, 'redis')));
  const left = () => execFileSync(docker, ['ps', '--all', '--quiet', '--filter', `name=${name}`]);
  await expect.poll(() => left().toString(), { timeout: 10_000 }).toBe('');
});

it('waits for a Redis that was loading, though it is too busy to say so again', async () => {
  // The first caller hears that it loads, those of the next 1.5 s nothing.
  const busy = `
    let silentUntil = 0;
    require('net').createServer((socket) => {
      socket.on('error', () => {});
      if (silentUntil === 0) {
        silentUntil = performance.now() + 1500;
        socket.end('-LOADING Redis is loading the dataset in memory\\r\\n');
      } else if (performance.now() > silentUntil) socket.end('+PONG\\r\\n');
    }).listen(Number(process.argv[1]), '127.0.0.1')`;
  const program: RedisProgram = {
    origin: 'a busy one',
    command: ({ port }) => ({ command: process.execPath, args: ['-e', busy, String(port)] }),
    environment: {},
  };
  const [logFile, pidFile] = [join(folder.path, 'busy.log'), join(folder.path, 'busy.pid')];
  // The clock runs twenty times as fast: the 15 s given to one that never answers pass in the silence.
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() * 20 };
  const server = await startRedis({ dir: folder.path, logFile, pidFile, program, clock });
  running.push(server);
  expect(server.origin).toBe('a busy one');
});

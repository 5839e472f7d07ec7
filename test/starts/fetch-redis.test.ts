/**
 * Redis fetched from Debian's packages for real: by whoever runs, by a user without rights, without package lists,
 * several at once, interrupted, and without a network. Run by `npm run test:launcher`: it takes the network.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort } from '../../deploy/local/redis/redis.js';
import { exited, ROOT } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const NOBODY = 65534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
const WITHOUT_NETWORK = ['unshare', '--net'];
const WITHOUT_LISTS = [
  ...['unshare', '--mount', 'sh', '-c'],
  ...['mount -t tmpfs none /var/lib/apt/lists && exec "$@"', 'sh'],
];
/** Finds a Redis, lets it answer, and writes which one it is. */
const SCRIPT = `
  import { findRedisProgram } from '${ROOT}/dist/deploy/local/redis/find-redis.js';
  import { startRedisIn } from '${ROOT}/dist/deploy/local/redis/redis.js';
  const [folder, cacheDir] = process.argv.slice(1);
  const tell = console.log;
  try {
    const server = await startRedisIn(folder, { cacheDir, tell });
    tell(server.origin);
    await server.stop();
  } catch (error) {
    tell(error.message);
  }`;
const FETCHED = /^Fetching the redis-server package, once …\nRedis [\d.]+ from the redis-server package\n$/;

const fault = faultOfMachine();
const rootFault = fault ?? faultOfRoot();
for (const reason of new Set([fault, rootFault]))
  if (reason) console.warn(`\n!!! SKIPPED: fetching Redis is not tested, or not wholly: ${reason}.\n`);

let folder: ReturnType<typeof temporaryFolder>;
let cacheDir: string;
beforeEach(() => {
  folder = temporaryFolder();
  cacheDir = join(folder.path, 'my cache');
});
afterEach(() => folder.remove());

function faultOfMachine(): string | null {
  if (process.env.TEST_NETWORK !== '1') return 'it takes the network; `npm run test:launcher` does';
  if (!existsSync('/usr/bin/apt-get')) return 'this system has no apt';
  for (const name of ['redis-server', 'valkey-server'])
    if (succeeds('which', name)) return `${name} is on the PATH and comes first`;
  return null;
}

function faultOfRoot(): string | null {
  if (process.getuid?.() !== 0) return 'other users and systems are tried by root only';
  if (!succeeds(...AS_NOBODY, 'test', '-r', ROOT)) return 'the user nobody cannot read this folder';
  for (const way of [WITHOUT_LISTS, WITHOUT_NETWORK])
    if (!succeeds(...way, 'true')) return `this system does not let root ${way.slice(0, 2).join(' ')}`;
  return null;
}

function succeeds(...line: string[]): boolean {
  const [command = '', ...args] = line;
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Looks for a Redis in a process of its own and returns what it told; the command `before` changes its surroundings. */
async function found(before: string[] = [], name = 'one'): Promise<string> {
  const data = join(folder.path, name);
  mkdirSync(data);
  if (before.includes(AS_NOBODY[1] as string)) {
    chmodSync(folder.path, 0o711);
    mkdirSync(cacheDir);
    for (const path of [data, cacheDir]) chownSync(path, NOBODY, NOBODY);
  }
  const [command = '', ...args] = [
    ...[...before, process.execPath, '--input-type=module', '--eval', SCRIPT],
    ...[data, cacheDir],
  ];
  // No engine may serve instead.
  const env = { ...process.env, DOCKER_HOST: `unix://${folder.path}/none`, HOME: folder.path };
  const child = spawn(command, args, { env });
  const told = textOf(child);
  await exited(child);
  return told();
}

function textOf(child: ChildProcess): () => string {
  let text = '';
  child.stdout?.on('data', (chunk) => (text += chunk));
  child.stderr?.on('data', (chunk) => (text += chunk));
  return () => text;
}

const cached = () => readdirSync(cacheDir).map((name) => name.replace(/-.*/, ''));

it.skipIf(fault)('fetches it once, anew when it is broken, and keeps nothing besides', async () => {
  expect(await found()).toMatch(FETCHED);
  expect(await found([], 'again')).toMatch(/^Redis [\d.]+ from the redis-server package\n$/);
  expect(cached()).toEqual(['redis']);
  const [name = ''] = readdirSync(cacheDir);
  rmSync(join(cacheDir, name, 'usr/bin'), { recursive: true });
  expect(await found([], 'anew')).toMatch(FETCHED);
  expect(cached()).toEqual(['redis']);
});

it.skipIf(fault)('serves three that fetch into one empty cache at once', async () => {
  for (const told of await Promise.all(['one', 'two', 'three'].map((name) => found([], name))))
    expect(told).toMatch(FETCHED);
  expect(readdirSync(cacheDir)).toHaveLength(1);
});

it.skipIf(rootFault).each([
  ['as a user without rights', AS_NOBODY],
  ['without package lists', WITHOUT_LISTS],
  ['as a user without rights, without package lists', [...WITHOUT_LISTS, ...AS_NOBODY]],
])('fetches it %s', async (_, before) => {
  expect(await found(before)).toMatch(FETCHED);
  expect(readdirSync(cacheDir)).toHaveLength(1);
});

it.skipIf(rootFault)('lets a user without rights and without a home start', async () => {
  chmodSync(folder.path, 0o711);
  const place = join(folder.path, 'place');
  mkdirSync(place);
  chownSync(place, NOBODY, NOBODY);
  const { REDIS_URL: _, SLUICE_CACHE_DIR: __, ...inherited } = process.env;
  const env: NodeJS.ProcessEnv = {
    ...inherited,
    HOME: '/nonexistent',
    PORT: String(await freePort()),
    SLUICE_METRICS_PORT: '0',
    SLUICE_MODELS_DIR: join(ROOT, 'deploy/models'),
    SLUICE_BACKEND: 'wasm',
  };
  const [command = '', ...args] = [...AS_NOBODY, process.execPath, join(ROOT, 'dist/deploy/local/main.js')];
  const launcher = spawn(command, args, { cwd: place, env });
  const told = textOf(launcher);
  try {
    await expect.poll(told, { timeout: 60_000 }).toContain('Ctrl-C stops');
    expect(readdirSync(join(place, '.sluice/cache')).some((name) => name.startsWith('redis-'))).toBe(true);
  } finally {
    launcher.kill('SIGINT');
    await exited(launcher);
  }
  expect(launcher.exitCode, told()).toBe(0);
});

it.skipIf(rootFault)('says that there may be no network where there is none', async () => {
  const told = await found(WITHOUT_NETWORK);
  expect(told).toContain('(with package lists just fetched: is there a network?)');
  expect(told).toMatch(/Install one with `apt-get install redis-server`, or set REDIS_URL/);
  expect(readdirSync(cacheDir)).toEqual([]);
});

it.skipIf(fault)('leaves nothing when it is interrupted', async () => {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PORT: String(await freePort()),
    SLUICE_DATA_DIR: join(folder.path, 'data'),
    SLUICE_CACHE_DIR: cacheDir,
  };
  delete env.REDIS_URL;
  const launcher = spawn(process.execPath, [join(ROOT, 'dist/deploy/local/main.js')], { cwd: ROOT, env });
  const told = textOf(launcher);
  // Somewhere in the download.
  const packages = () =>
    existsSync(cacheDir) &&
    readdirSync(cacheDir).some((name) => existsSync(join(cacheDir, name, 'packages')));
  await expect.poll(packages, { interval: 10, timeout: 10_000 }).toBe(true);
  launcher.kill('SIGINT');
  expect(await exited(launcher)).toBe(0);
  expect(told()).toMatch(/Stopped\.\n$/);
  expect(readdirSync(cacheDir)).toEqual([]);
});

/**
 * The launcher behind `npm start`: one command, several processes, all of them gone at the end.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { verifyWebhook } from '../../shared/client/webhooks.js';
import { answer, openReceiver } from '../support/receiver.js';
import { exited, freePort, ROOT } from '../support/stack.js';
import { startRedis, temporaryFolder } from '../support/started-redis.js';

let folder: ReturnType<typeof temporaryFolder>;
let launcher: ChildProcess | undefined;
let told = '';
let port = 0;

beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(async () => {
  launcher?.kill('SIGINT');
  if (launcher) await exited(launcher);
  folder.remove();
});

async function launch(changes: NodeJS.ProcessEnv): Promise<void> {
  told = '';
  port = await freePort();
  const { REDIS_URL: _, ...inherited } = process.env;
  const env: NodeJS.ProcessEnv = {
    ...inherited,
    PORT: String(port),
    SLUICE_DATA_DIR: folder.path,
    SLUICE_METRICS_PORT: '0',
    SLUICE_BACKEND: 'wasm',
    ...changes,
  };
  launcher = spawn(process.execPath, [join(ROOT, 'dist/deploy/local/main.js')], { cwd: ROOT, env });
  launcher.stdout?.on('data', (text) => (told += text));
  launcher.stderr?.on('data', (text) => (told += text));
}

async function start(changes: NodeJS.ProcessEnv = {}): Promise<void> {
  await launch(changes);
  await expect.poll(() => told, { timeout: 30_000 }).toContain('Ctrl-C stops');
}

const redisUrl = () => readFileSync(join(folder.path, 'redis.url'), 'utf8').trim();
const key = () => readFileSync(join(folder.path, 'api-key'), 'utf8').trim();
const ask = (path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${port}${path}`, {
    ...init,
    headers: { authorization: `Bearer ${key()}`, 'content-type': 'application/json', prefer: 'wait=20' },
  });
const submit = async () =>
  (await (
    await ask('/v1/jobs', {
      method: 'POST',
      body: readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json')),
    })
  ).json()) as { id: string; status: string };
const workers = () =>
  execFileSync('ps', ['-eo', 'pid,ppid,args'], { encoding: 'utf8' })
    .split('\n')
    .filter(
      (line) => line.includes('worker/main.js') && line.trim().split(/\s+/)[1] === String(launcher?.pid),
    )
    .map((line) => Number(line.trim().split(/\s+/)[0]));

it('keeps jobs and key over a restart, replaces a killed worker, and leaves no process', async () => {
  await start();
  const firstKey = key();
  const job = await submit();
  expect(job.status).toBe('succeeded');

  const url = redisUrl();
  expect(url).toMatch(/^redis:\/\/:[0-9a-f]{64}@127\.0\.0\.1:\d+$/);
  const redis = new Redis(url);
  const setting = async (name: string) => ((await redis.config('GET', name)) as string[])[1];
  expect([await setting('bind'), await setting('appendonly'), await setting('maxmemory-policy')]).toEqual([
    '127.0.0.1',
    'yes',
    'noeviction',
  ]);
  expect(Number(await setting('maxmemory'))).toBeGreaterThan(0);
  redis.disconnect();

  const [worker] = workers();
  process.kill(worker as number, 'SIGKILL');
  expect((await submit()).status, 'by the next worker').toBe('succeeded');
  expect(workers()).not.toContain(worker);

  launcher?.kill('SIGINT');
  expect(launcher && (await exited(launcher))).toBe(0);
  await expect(fetch(`http://127.0.0.1:${port}/livez`)).rejects.toThrow();
  const gone = new Redis(url, { retryStrategy: () => null, lazyConnect: true });
  gone.on('error', () => {});
  await expect(gone.connect(), 'Redis stopped too').rejects.toThrow();

  await start();
  expect(key()).toBe(firstKey);
  expect(await (await ask(`/v1/jobs/${job.id}`)).json()).toMatchObject({ status: 'succeeded' });
});

/** Everything that another user of the machine can see, or that people hand on: arguments, what was told, logs. */
function shown(): string {
  const args = execFileSync('ps', ['-eww', '-o', 'args'], { encoding: 'utf8' });
  const logs = join(folder.path, 'logs');
  return [args, told, ...readdirSync(logs).map((name) => readFileSync(join(logs, name), 'utf8'))].join('\n');
}

it('keeps the password of its Redis to itself and its programs', async () => {
  await start({ LOG_LEVEL: 'trace', SLUICE_URL: 'http://127.0.0.1:1', SLUICE_API_KEY: 'of the command' });
  const { password, port: redisPort } = new URL(redisUrl());
  const stranger = new Redis({ host: '127.0.0.1', port: Number(redisPort), retryStrategy: () => null });
  stranger.on('error', () => {});
  await expect(stranger.keys('*')).rejects.toThrow(/^NOAUTH/);
  stranger.disconnect();
  for (const name of ['redis.url', 'api-key', 'redis/password.conf'])
    expect((statSync(join(folder.path, name)).mode & 0o777).toString(8), name).toBe('600');

  expect((await submit()).status).toBe('succeeded');
  const { REDIS_URL: _, ...env } = process.env;
  Object.assign(env, { SLUICE_DATA_DIR: folder.path, SLUICE_METRICS_PORT: '0', SLUICE_BACKEND: 'wasm' });
  const another = spawn('npm', ['run', 'worker'], { cwd: ROOT, env, detached: true });
  let logged = '';
  another.stdout.on('data', (text) => (logged += text));
  another.stderr.on('data', (text) => (logged += text));
  const serving = async () => ((await (await ask('/v1/workers')).json()) as { data: unknown[] }).data.length;
  try {
    await expect.poll(serving, { timeout: 20_000 }).toBe(2);
  } finally {
    process.kill(-(another.pid as number), 'SIGTERM');
    await exited(another);
  }
  expect(shown() + logged).not.toContain(password);
});

it('starts on the folder of a launcher that had no password and was killed', async () => {
  const old = await startRedis(folder.path);
  const redis = new Redis(old.url);
  await redis.set('kept', 'yes');
  redis.disconnect();
  writeFileSync(join(folder.path, 'redis.url'), `${old.url}\n`, { mode: 0o644 });

  await start();
  expect(told).toContain('Ended the redis process that an earlier launcher left running.');
  await old.exited;
  const owned = new Redis(redisUrl());
  expect(await owned.get('kept')).toBe('yes');
  owned.disconnect();
  const { password } = new URL(redisUrl());
  expect((statSync(join(folder.path, 'redis.url')).mode & 0o777).toString(8)).toBe('600');

  launcher?.kill('SIGINT');
  expect(launcher && (await exited(launcher))).toBe(0);
  await start();
  expect(new URL(redisUrl()).password, 'it is made once').toBe(password);
  launcher?.kill('SIGINT');
  expect(launcher && (await exited(launcher))).toBe(0);

  writeFileSync(join(folder.path, 'redis/password.conf'), 'requirepass foo\n');
  await launch({});
  expect(launcher && (await exited(launcher)), 'EX_CONFIG').toBe(78);
  expect(told).toMatch(/password\.conf holds no password of Redis .+; delete it for a new one\./);
});

/** A PATH with nothing on it and a cache folder of its own: no way to a Redis is open. */
function nothingThere() {
  const bin = join(folder.path, 'bin');
  mkdirSync(bin, { recursive: true });
  return { PATH: bin, SLUICE_CACHE_DIR: join(folder.path, 'cache') };
}

it('tells the command `sluice` where it serves', async () => {
  await start();
  expect(readFileSync(join(folder.path, 'api.url'), 'utf8')).toBe(`http://127.0.0.1:${port}\n`);
  const env = { ...process.env, SLUICE_DATA_DIR: folder.path };
  const command = spawn('npx', ['sluice', 'listen'], { cwd: ROOT, env, detached: true });
  let said = '';
  command.stderr.on('data', (text) => (said += text));
  try {
    await expect.poll(() => said, { timeout: 20_000 }).toContain('Listening on');
  } finally {
    process.kill(-(command.pid as number), 'SIGINT');
    await exited(command);
  }
  expect(said).toContain('is deleted');
  launcher?.kill('SIGINT');
  expect(launcher && (await exited(launcher))).toBe(0);
  expect(existsSync(join(folder.path, 'api.url')), 'nobody serves there').toBe(false);
});

it('bounds the files of logs, while their programs go on writing', async () => {
  await start({ LOG_LEVEL: 'trace' });
  const file = join(folder.path, 'logs/worker.log');
  const logged = () => readFileSync(file, 'utf8');
  await expect.poll(logged, { timeout: 20_000 }).toContain('worker serves');
  appendFileSync(file, `${'x'.repeat(1023)}\n`.repeat(17 * 1024));
  await expect.poll(() => statSync(file).size, { timeout: 10_000 }).toBeLessThan(1024 * 1024);
  expect(readFileSync(`${file}.1`, 'utf8')).toContain('worker serves');
  launcher?.kill('SIGINT');
  expect(launcher && (await exited(launcher))).toBe(0);
  expect(logged()).toMatch(/"msg":"ended"\}\n$/);
});

it('serves the metrics of the API and of the worker on two ports, and says on which', async () => {
  const metrics = () =>
    [...(/Metrics {3}(.*)/.exec(told)?.[1] ?? '').matchAll(/http:\S+\/metrics/g)].map(([url]) => url);
  const textOf = async (url = '') => (await fetch(url)).text();
  const wanted = await freePort();
  const other = createServer().listen(wanted + 1, '127.0.0.1');
  try {
    await start({ SLUICE_METRICS_PORT: String(wanted) });
    expect(metrics()[0]).toBe(`http://127.0.0.1:${wanted}/metrics`);
    expect(told).toContain(`Port ${wanted + 1} of SLUICE_METRICS_PORT cannot be had; metrics are on port `);
    expect(await textOf(metrics()[0])).toContain('sluice_http_requests_total');
    await expect
      .poll(() => textOf(metrics()[1]).catch(() => ''), { timeout: 20_000 })
      .toContain('sluice_batch_size');
  } finally {
    other.close();
  }
  launcher?.kill('SIGINT');
  expect(launcher && (await exited(launcher))).toBe(0);
  await start({ SLUICE_METRICS_PORT: String(wanted) });
  expect(metrics()).toEqual([wanted, wanted + 1].map((port) => `http://127.0.0.1:${port}/metrics`));
  expect(told).not.toContain('cannot be had');
});

it('serves from the Redis of REDIS_URL, and looks for no other', async () => {
  const prefix = `{t-${folder.path.slice(-6)}}`;
  const url = inject('redisUrl');
  await start({ ...nothingThere(), REDIS_URL: url, SLUICE_KEY_PREFIX: prefix });
  expect(told).toContain('the one of REDIS_URL');
  expect((await submit()).status).toBe('succeeded');
  expect(existsSync(join(folder.path, 'redis'))).toBe(false);
  launcher?.kill('SIGINT');
  expect(launcher && (await exited(launcher))).toBe(0);

  const redis = new Redis(url);
  const keys = await redis.keys(`${prefix}:*`);
  expect(keys.length, 'the jobs are there').toBeGreaterThan(0);
  await redis.unlink(keys);
  redis.disconnect();
});

it('lets webhooks reach this machine, unless it is told what they may reach', async () => {
  const receiver = await openReceiver(answer(204));
  const submitFor = async (host: string) => {
    const example = readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8');
    const url = `http://${host}:${receiver.port}/`;
    return ask('/v1/jobs', {
      method: 'POST',
      body: JSON.stringify({ ...JSON.parse(example), webhook: { url } }),
    });
  };
  try {
    await start();
    for (const host of ['127.0.0.1', 'localhost']) expect((await submitFor(host)).status).toBe(200);
    await receiver.has(2);
    const { secret } = (await (await ask('/v1/webhook-secret')).json()) as { secret: string };
    for (const request of receiver.received)
      expect(verifyWebhook({ ...request, secret }).type).toBe('job.succeeded');
    launcher?.kill('SIGINT');
    expect(launcher && (await exited(launcher))).toBe(0);

    await start({ SLUICE_WEBHOOK_ALLOW_PRIVATE: '' });
    expect(await (await submitFor('127.0.0.1')).json()).toMatchObject({ code: 'url_not_allowed' });
    expect(receiver.received).toHaveLength(2);
  } finally {
    await receiver.close();
  }
});

it.each([
  [
    'there are no models',
    { SLUICE_MODELS_DIR: '/nowhere' },
    /cannot be read: ENOENT.*SLUICE_MODELS_DIR names another/,
  ],
  ['a network is none', { SLUICE_WEBHOOK_ALLOW_PRIVATE: 'foo' }, /SLUICE_WEBHOOK_ALLOW_PRIVATE.*foo/],
  [
    'the backend does not load',
    { SLUICE_BACKEND: 'cuda', CUDA_VISIBLE_DEVICES: '' },
    /SLUICE_BACKEND=cuda: cuda cannot serve/,
  ],
  [
    'there can be no folder',
    { SLUICE_DATA_DIR: '/dev/null/x' },
    /\/dev\/null\/x\/run cannot be made.*SLUICE_DATA_DIR names another/,
  ],
  [
    'the file system takes no folders',
    { SLUICE_DATA_DIR: '/proc/x' },
    /\/proc\/x\/run cannot be made.*SLUICE_DATA_DIR names another/,
  ],
])('does not go on trying where %s', async (_, changes, message) => {
  await launch(changes);
  expect(launcher && (await exited(launcher)), 'EX_CONFIG').toBe(78);
  expect(told).toMatch(message);
  expect(told).not.toContain('starting it again');
});

it('says what to do where no Redis can be had, and leaves nothing', async () => {
  await launch(nothingThere());
  expect(launcher && (await exited(launcher)), 'EX_CONFIG').toBe(78);
  expect(told).toMatch(
    /^There is no Redis to use, and none could be had:\n( {2}- .+\n){4}Install .+REDIS_URL/,
  );
  expect(readdirSync(folder.path).sort()).toEqual(['api-key', 'bin', 'run']);
  expect(readdirSync(join(folder.path, 'run'))).toEqual([]);
});

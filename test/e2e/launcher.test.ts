/**
 * What `npm start` runs after the build: one command, several processes, all of them gone at the end.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, expect, it } from 'vitest';
import { temporaryFolder } from '../support/redis.js';
import { exited, freePort, ROOT } from '../support/stack.js';

const folder = temporaryFolder();
let launcher: ChildProcess | undefined;
let told = '';
let port = 0;

afterEach(async () => {
  launcher?.kill('SIGINT');
  if (launcher) await exited(launcher);
  folder.remove();
});

async function start(): Promise<void> {
  told = '';
  port = await freePort();
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PORT: String(port),
    SLUICE_DATA_DIR: folder.path,
    SLUICE_METRICS_PORT: '0',
    SLUICE_BACKEND: 'wasm',
  };
  delete env.REDIS_URL;
  launcher = spawn(process.execPath, [join(ROOT, 'dist/deploy/local/main.js')], { cwd: ROOT, env });
  launcher.stdout?.on('data', (text) => (told += text));
  launcher.stderr?.on('data', (text) => (told += text));
  await expect.poll(() => told, { timeout: 30_000 }).toContain('Ctrl-C stops');
}

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

it('keeps jobs and key over a restart, replaces a killed worker, and leaves no process', {
  timeout: 120_000,
}, async () => {
  await start();
  const firstKey = key();
  const job = await submit();
  expect(job.status).toBe('succeeded');

  const url = readFileSync(join(folder.path, 'redis.url'), 'utf8').trim();
  expect(url).toMatch(/^redis:\/\/127\.0\.0\.1:/);
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

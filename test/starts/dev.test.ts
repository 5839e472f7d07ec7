/**
 * `npm run dev` on a copy of the sources: a save is served by new processes on the same Redis.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { exited, freePort, ROOT } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const PATIENCE = { timeout: 40_000, interval: 50 };
/** A restart takes about 2 s on two free cores; other tests may have both of them. */
const MOST_RESTART_MS = 20_000;

const folder = temporaryFolder();
afterAll(() => folder.remove());

it('serves what was saved from new processes, and keeps Redis with all that is in it', async () => {
  for (const name of ['api', 'worker', 'shared', 'deploy', 'package.json'])
    cpSync(join(ROOT, name), join(folder.path, name), { recursive: true });
  for (const name of ['tsconfig.json', 'tsconfig.build.json', 'tsconfig.dev.json'])
    cpSync(join(ROOT, name), join(folder.path, name));
  symlinkSync(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'));
  const port = await freePort();
  const { REDIS_URL: _, ...inherited } = process.env;
  const env = { ...inherited, PORT: String(port), SLUICE_METRICS_PORT: '0', SLUICE_BACKEND: 'wasm' };
  const dev = spawn('npm', ['run', 'dev'], { cwd: folder.path, env, detached: true });
  let told = '';
  dev.stdout.on('data', (text) => (told += text));
  dev.stderr.on('data', (text) => (told += text));
  const inData = (name: string) => readFileSync(join(folder.path, '.sluice', name), 'utf8').trim();
  const url = `http://127.0.0.1:${port}`;
  const answer = async (path: string, init: RequestInit = {}) => {
    const headers = { authorization: `Bearer ${inData('api-key')}`, 'content-type': 'application/json' };
    // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of every form
    return (await fetch(url + path, { ...init, headers })).json() as any;
  };
  const version = async () => (await answer('/openapi.json').catch(() => null))?.info.version;
  const source = join(folder.path, 'shared/base/version.ts');
  const save = (text: string) => writeFileSync(source, text);
  try {
    await expect.poll(() => told, PATIENCE).toContain('The sources are watched');
    const body = readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'));
    const job = await answer('/v1/jobs?wait=20', { method: 'POST', body });
    expect(job.status).toBe('succeeded');
    const before = { redis: inData('run/redis.pid'), api: inData('run/api.pid') };
    const first = readFileSync(source, 'utf8');

    save(first.replace(/'.*'/, "'0.0.1-saved'"));
    const savedMs = performance.now();
    await expect.poll(version, PATIENCE).toBe('0.0.1-saved');
    const tookMs = performance.now() - savedMs;
    console.warn(`The API served a save after ${(tookMs / 1000).toFixed(1)} s.`);
    expect(tookMs).toBeLessThan(MOST_RESTART_MS);
    await expect.poll(() => told, PATIENCE).toMatch(/run the saved sources, \S+ s after the save/);
    expect(inData('run/redis.pid')).toBe(before.redis);
    expect(inData('run/api.pid')).not.toBe(before.api);
    expect(await answer(`/v1/jobs/${job.id}`)).toEqual(job);

    const script = 'shared/redis/lua/submit-jobs.lua';
    const heard = told.length;
    appendFileSync(join(folder.path, script), '\n-- saved\n');
    await expect.poll(() => told.slice(heard), PATIENCE).toMatch(/run the saved sources/);
    expect(readFileSync(join(folder.path, 'dist', script), 'utf8')).toMatch(/-- saved\n$/);

    const api = inData('run/api.pid');
    save('export const VERSION = ;\n');
    await expect.poll(() => told, PATIENCE).toContain('version.ts(1,24): error');
    expect(inData('run/api.pid'), `what does not compile starts nothing:\n${told}`).toBe(api);
    expect(await version()).toBe('0.0.1-saved');
  } finally {
    // Ctrl-C reaches the whole foreground group.
    process.kill(-(dev.pid as number), 'SIGINT');
    await exited(dev);
  }
  expect(told).toContain('Stopped.');
  await expect(fetch(url)).rejects.toThrow();
});

/**
 * The README's five-minute start, its own text, in a fresh clone and with an empty home. The packages and what was fetched
 * are those that are here; where tests may take long, `npm ci` runs, too.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadConfig } from '../../shared/contract/config.js';
import { IS_LONG } from '../support/long.js';
import { exited, freePort, ROOT } from '../support/stack.js';

const folder = mkdtempSync(join(tmpdir(), 'sluice-clone-'));
const clone = join(folder, 'sluice');
/** An installation for users and developers takes no more. */
const MOST_MEGABYTES = 500;
const argmax = (row: number[]) => row.indexOf(Math.max(...row));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The shell commands of the section, in their order. */
function commandsOf(section: string): string[] {
  const [, after = ''] = readFileSync(join(clone, 'README.md'), 'utf8').split(`## ${section}\n`);
  const [body = ''] = after.split('\n## ');
  return [...body.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block.trim());
}

function megabytesIn(path: string): number {
  return Number.parseInt(execFileSync('du', ['-sm', path], { encoding: 'utf8' }), 10);
}

it('recognises a digit', { timeout: 240_000 }, async () => {
  execFileSync('git', ['clone', '--quiet', ROOT, clone]);
  const [start = '', submit = ''] = commandsOf('Five minutes to a result');
  expect(start).toBe('npm ci && npm start');
  const port = await freePort();
  const home = join(folder, 'home');
  mkdirSync(home);
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PORT: String(port),
    SLUICE_METRICS_PORT: '0',
    SLUICE_CACHE_DIR: loadConfig().SLUICE_CACHE_DIR,
    npm_config_cache: join(homedir(), '.npm'),
    HOME: home,
  };
  delete env.REDIS_URL;
  if (!IS_LONG) symlinkSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'));
  const install = IS_LONG ? 'npm ci --prefer-offline --no-progress && ' : '';
  const sluice = spawn('bash', ['-c', `${install}exec npm start`], {
    cwd: clone,
    env,
    detached: true,
  });
  let told = '';
  sluice.stdout.on('data', (text) => (told += text));
  sluice.stderr.on('data', (text) => (told += text));
  try {
    const isUp = () => told.includes('Ctrl-C stops') || sluice.exitCode !== null;
    await expect.poll(isUp, { timeout: 180_000, interval: 200 }).toBe(true);
    expect(sluice.exitCode, told).toBeNull();
    expect(told).toContain(`http://127.0.0.1:${port}`);
    if (IS_LONG) expect(megabytesIn(join(clone, 'node_modules'))).toBeLessThanOrEqual(MOST_MEGABYTES);
    const printed = told.split('\n').find((line) => line.startsWith('curl ')) ?? '';
    for (const command of [printed, submit.replaceAll(':8080', `:${port}`)]) {
      const job = JSON.parse(execFileSync('bash', ['-c', command], { cwd: clone, encoding: 'utf8' }));
      expect(job.status).toBe('succeeded');
      expect(argmax(job.predictions[0])).toBe(7);
    }
  } finally {
    // As Ctrl-C does: to the whole foreground group.
    if (sluice.exitCode === null) process.kill(-(sluice.pid as number), 'SIGINT');
    await exited(sluice);
  }
});

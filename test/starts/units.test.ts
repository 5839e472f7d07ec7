/**
 * The units of systemd: what they start serves with their own settings, and ends as they expect.
 *
 * No systemd runs here, so the test does what it would: it reads the units, and starts their commands.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VARIABLES } from '../../shared/contract/variables.js';
import { type OwnRedis, openOwnRedis } from '../support/own-redis.js';
import { exited, freePort, ROOT } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';

const FOLDER = join(ROOT, 'deploy/systemd');
const UNITS = ['sluice-api.service', 'sluice-worker@.service'];
const ANALYZE = '/usr/bin/systemd-analyze';
const KEY = `slk_${'k'.repeat(32)}`;
const BOUND = { timeout: 60_000, interval: 200 };
/** sysexits.h: a program that cannot be configured. */
const EX_CONFIG = 78;

const folder = temporaryFolder();
const children: ChildProcess[] = [];
let redis: OwnRedis;
beforeAll(async () => {
  redis = await openOwnRedis();
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await redis.close();
  folder.remove();
});

/** Returns the settings of a unit; a setting that stands there twice has its last value. */
function settingsOf(unit: string): Record<string, string> {
  const lines = readFileSync(join(FOLDER, unit), 'utf8').matchAll(/^(\w+)=(.*)$/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
}

/** Returns `NAME=value` pairs, those of commented lines too. */
function pairsIn(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/(?:^|[ #])([A-Z_]+)=(\S*)/gm)].map(([, name, value]) => [name, value]),
  );
}

function start(unit: string, more: Record<string, string>): ChildProcess {
  const { ExecStart = '', Environment = '' } = settingsOf(unit);
  const [, ...args] = ExecStart.split(' ');
  const folders = {
    SLUICE_DATA_DIR: join(folder.path, 'data'),
    SLUICE_CACHE_DIR: join(folder.path, 'cache'),
  };
  const env = { PATH: process.env.PATH, ...pairsIn(Environment), ...folders, REDIS_URL: redis.url, ...more };
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: 'ignore' });
  children.push(child);
  return child;
}

if (!existsSync(ANALYZE))
  console.warn('SKIPPED: no systemd-analyze here, so nothing checks the syntax of the units.');

describe.each(UNITS)('%s', (unit) => {
  const settings = settingsOf(unit);

  it('names variables and a file that there are', () => {
    const [node, ...args] = settings.ExecStart?.split(' ') ?? [];
    expect(node).toBe('/usr/bin/node');
    expect(existsSync(join(ROOT, args.at(-1) ?? ''))).toBe(true);
    const named = {
      ...pairsIn(settings.Environment ?? ''),
      ...pairsIn(readFileSync(join(FOLDER, 'sluice.env'), 'utf8')),
    };
    const { MALLOC_ARENA_MAX, ...ours } = named;
    expect(Object.keys(ours).filter((name) => !(name in VARIABLES))).toEqual([]);
  });

  it('is not started again with settings that cannot be used', async () => {
    expect(settings.RestartPreventExitStatus).toBe(String(EX_CONFIG));
    expect(await exited(start(unit, { SLUICE_BACKEND: 'none' }))).toBe(EX_CONFIG);
  });

  it.skipIf(!existsSync(ANALYZE))('is understood by systemd, where that is installed', () => {
    execFileSync(ANALYZE, ['verify', join(FOLDER, unit)], { stdio: 'pipe' });
  });
});

it('an API and a worker serve, and leave in good order within the time that systemd gives them', async () => {
  const PORT = String(await freePort());
  const shared = { PORT, SLUICE_BOOTSTRAP_KEY: KEY, SLUICE_METRICS_PORT: '0', SLUICE_MODELS: 'mnist' };
  const [api, worker] = UNITS.map((unit) => start(unit, shared)) as [ChildProcess, ChildProcess];
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', prefer: 'wait=20' };
  const body = JSON.stringify({ model: 'mnist', instances: [Array(784).fill(0)] });
  const ask = () => fetch(`http://127.0.0.1:${PORT}/v1/jobs`, { method: 'POST', headers, body });
  await expect
    .poll(
      () =>
        ask().then(
          ({ status }) => status,
          () => 0,
        ),
      BOUND,
    )
    .toBe(200);
  for (const [child, unit] of [
    [worker, UNITS[1]],
    [api, UNITS[0]],
  ] as const) {
    const startedMs = performance.now();
    child.kill('SIGTERM');
    expect(await exited(child)).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(Number(settingsOf(unit ?? '').TimeoutStopSec) * 1000);
  }
});

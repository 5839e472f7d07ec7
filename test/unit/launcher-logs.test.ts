import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Logs, openLogs } from '../../deploy/local/logs.js';
import { createManualClock, type ManualClock } from '../support/manual-clock.js';

const MOST_BYTES = 16 * 1024 * 1024;
const CHECK_MS = 1000;
const warning = (msg: string) => `${JSON.stringify({ level: 40, msg })}\n`;

let folder: string;
let clock: ManualClock;
let logs: Logs;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-logs-'));
  clock = createManualClock();
  logs = openLogs(folder, clock);
});
afterEach(() => {
  logs.close();
  rmSync(folder, { recursive: true });
});

it('keeps the file of the launch before, and begins a new one', () => {
  const { path } = logs.begin('api');
  expect(path).toBe(join(folder, 'api.log'));
  appendFileSync(path, 'old');
  expect(logs.begin('api').path).toBe(path);
  expect(existsSync(path)).toBe(false);
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('old');
});

it('shows the last warnings since the mark, but nothing of routine', () => {
  const log = logs.begin('api');
  appendFileSync(log.path, warning('of the run before'));
  log.mark();
  expect(log.lastWords()).toBe('');
  appendFileSync(log.path, `{"level":30,"msg":"routine"}\n${warning('bad')}plain\n`);
  expect(log.lastWords()).toBe('  api.log: bad\n  api.log: plain');
});

it('bounds a file, and still knows the last words', async () => {
  const log = logs.begin('worker');
  const sizes = () => [log.path, `${log.path}.1`].map((path) => statSync(path).size);
  const line = warning('x'.repeat(1023));
  const fill = line.repeat(Math.ceil(MOST_BYTES / line.length));
  appendFileSync(log.path, fill);
  log.mark();
  await clock.advance(CHECK_MS);
  expect(sizes()).toEqual([0, fill.length]);

  appendFileSync(log.path, warning('after'));
  expect(log.lastWords()).toBe('  worker.log: after');
  await clock.advance(CHECK_MS);
  expect(sizes()[0], 'a file that is small stays').toBe(warning('after').length);

  appendFileSync(log.path, fill + fill);
  await clock.advance(CHECK_MS);
  expect(sizes()[0]).toBe(0);
  expect(readFileSync(`${log.path}.1`, 'utf8')).toContain(warning('after'));
});

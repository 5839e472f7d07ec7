/**
 * `npm run bench -- [--rounds N] [--seconds S] [--inflight N] [--rival-concurrency N,N] [--out DIR]`
 *
 * Prints the table and writes it, with every sample, to `--out`. Ends with code 1 when an answer was wrong: a fast
 * wrong answer is no result. Whatever happens, nothing that it started is left behind.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findRedisProgram } from '../../deploy/local/find-redis.js';
import { systemClock as clock, toTimestamp } from '../../shared/base/clock.js';
import { list, loadConfig } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { type Plan, runBench } from './bench.js';
import { jsonImages } from './digits.js';
import { machineFacts } from './machine.js';
import { firstFault, type Report, toMarkdown, wrongAnswers } from './report.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    inflight: { type: 'string', default: '64' },
    'rival-concurrency': { type: 'string', default: '1,8,32' },
    out: { type: 'string', default: 'test/bench/results' },
  },
});
const plan: Plan = {
  rounds: toNumber('rounds', values.rounds),
  seconds: toNumber('seconds', values.seconds),
  inFlight: toNumber('inflight', values.inflight),
  rivalConcurrencies: list(values['rival-concurrency']).map((text) => toNumber('rival-concurrency', text)),
};

const tell = (line: string) => console.error(line);
const stopping = new AbortController();
const closers: (() => Promise<unknown>)[] = [];
const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => stopping.abort(new Error(`interrupted by ${name}`)));
}

const work = measureAndReport();
try {
  await Promise.race([work, aborted(stopping.signal)]);
} catch (error) {
  tell(messageOf(error));
  process.exitCode = 1;
} finally {
  stopping.abort();
  await closeAll();
  // An interrupted start may have left more to close.
  await work.catch(() => undefined);
  await closeAll();
  rmSync(folder, { recursive: true, force: true });
}

async function measureAndReport(): Promise<void> {
  const { signal } = stopping;
  const program = await findRedisProgram({ cacheDir: loadConfig().SLUICE_CACHE_DIR, tell, signal });
  const site = {
    folder,
    program,
    signal,
    defer: (close: () => Promise<unknown>) => void closers.push(close),
  };
  const { rows, trials } = await runBench(plan, site, tell);
  const { rounds, seconds, inFlight } = plan;
  publish({
    date: toTimestamp(clock.now()),
    machine: machineFacts(program.origin),
    plan: { rounds, seconds, inFlight },
    bodyBytes: meanBodyBytes(),
    trials,
    rows,
  });
}

function publish(report: Report): void {
  const text = toMarkdown(report);
  const name = report.date.slice(0, 16).replaceAll(':', '').replace('T', '-');
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, `${name}.md`), text);
  writeFileSync(join(values.out, `${name}.json`), `${JSON.stringify(report, null, 1)}\n`);
  console.log(text);
  if (wrongAnswers(report.rows) === 0) return;
  tell(`Wrong answers; the first one:\n${firstFault(report.rows)}`);
  process.exitCode = 1;
}

function meanBodyBytes(): number {
  const bytes = jsonImages().map((image) => JSON.stringify({ model: 'mnist', instances: [image] }).length);
  return Math.round(bytes.reduce((sum, length) => sum + length, 0) / bytes.length);
}

async function closeAll(): Promise<void> {
  for (let close = closers.pop(); close; close = closers.pop()) {
    await close().catch((error) => tell(`closing failed: ${messageOf(error)}`));
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}

function toNumber(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${option} must be a number above 0, not "${text}"`);
  return value;
}

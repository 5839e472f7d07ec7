/**
 * `npm run bench -- [--rounds N] [--seconds S] [--inflight N] [--rival-concurrency N,N] [--out DIR]`
 *
 * Prints the table and writes it, with every sample, to `--out`. Ends with code 1 when an answer was wrong: a fast
 * wrong answer is no result. Whatever happens, nothing that it started is left behind.
 */
import { parseArgs } from 'node:util';
import { systemClock as clock, toTimestamp } from '../../shared/base/clock.js';
import { list } from '../../shared/base/config.js';
import { type Plan, runBench } from './bench.js';
import { machineFacts } from './machine.js';
import { firstFault, type Report, toMarkdown, wrongAnswers } from './report.js';
import { onSite, type Site, tell, writeResult } from './site.js';
import { jsonImages } from './test-digits.js';

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

await onSite(measureAndReport);

async function measureAndReport(site: Site): Promise<void> {
  const { rows, trials } = await runBench(plan, site, tell);
  const { rounds, seconds, inFlight } = plan;
  publish({
    date: toTimestamp(clock.now()),
    machine: machineFacts(site.program.origin),
    plan: { rounds, seconds, inFlight },
    bodyBytes: meanBodyBytes(),
    trials,
    rows,
  });
}

function publish(report: Report): void {
  const text = toMarkdown(report);
  writeResult(values.out, '', report.date, 'md', text);
  writeResult(values.out, '', report.date, 'json', `${JSON.stringify(report, null, 1)}\n`);
  console.log(text);
  if (wrongAnswers(report.rows) === 0) return;
  tell(`Wrong answers; the first one:\n${firstFault(report.rows)}`);
  process.exitCode = 1;
}

function meanBodyBytes(): number {
  const bytes = jsonImages().map((image) => JSON.stringify({ model: 'mnist', instances: [image] }).length);
  return Math.round(bytes.reduce((sum, length) => sum + length, 0) / bytes.length);
}

function toNumber(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${option} must be a number above 0, not "${text}"`);
  return value;
}

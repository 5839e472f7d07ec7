/**
 * `npm run bench -- [--only P1,P3] [--rounds N] [--seconds S] [--inflight N] [--poll-ms N] [--rival-concurrency N,N] [--node FILE] [--out DIR]`
 *
 * Prints the table and writes it, with every sample, to `--out`. `--only` measures what some promises need, `--node` runs what
 * is measured on another Node. Ends with code 1 when an answer was wrong: a fast wrong answer is no result. A promise that is
 * missed is told and is no error, because a busy machine misses some. Whatever happens, nothing that it started is left behind.
 */
import { systemClock as clock, toTimestamp } from '../../../shared/base/clock.js';
import { machineFacts } from '../machine.js';
import { optionsOrExit } from '../option-values.js';
import { onSite, type Site, tell, writeResult } from '../site.js';
import { runBench } from './bench.js';
import { parseOptions } from './options.js';
import { judge } from './promises.js';
import { firstFault, type Report, toMarkdown, wrongAnswers } from './report.js';
import { jsonImages } from './test-digits.js';

const { plan, node, nodeVersion, out } = optionsOrExit(parseOptions);

await onSite(measureAndReport, node);

async function measureAndReport(site: Site): Promise<void> {
  const { rows, trials } = await runBench(plan, site, tell);
  const { rounds, seconds, inFlight, pollMs } = plan;
  publish({
    date: toTimestamp(clock.now()),
    machine: machineFacts(site.program.origin, nodeVersion),
    plan: { rounds, seconds, inFlight, pollMs },
    bodyBytes: meanBodyBytes(),
    trials,
    rows,
    promises: judge(rows),
  });
}

function publish(report: Report): void {
  const text = toMarkdown(report);
  writeResult(out, '', report.date, 'md', text);
  writeResult(out, '', report.date, 'json', `${JSON.stringify(report, null, 1)}\n`);
  console.log(text);
  if (wrongAnswers(report.rows) === 0) return;
  tell(`Wrong answers; the first one:\n${firstFault(report.rows)}`);
  process.exitCode = 1;
}

function meanBodyBytes(): number {
  const bytes = jsonImages().map((image) => JSON.stringify({ model: 'mnist', instances: [image] }).length);
  return Math.round(bytes.reduce((sum, length) => sum + length, 0) / bytes.length);
}

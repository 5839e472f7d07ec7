/**
 * Figures as people read them: the median of the rounds, ratios of figures of the same round, and promises beside their goals.
 */
import { median, table } from '../figures.js';
import { goalText, type Judged, verdictOn } from '../goals.js';
import type { Trial } from './bench.js';
import { type Figure, quotientsOf, type Row, type RowId } from './samples.js';

export interface Report {
  date: string;
  machine: Record<string, string | number>;
  plan: { rounds: number; seconds: number; inFlight: number; pollMs: number };
  bodyBytes: number;
  trials: Trial[];
  rows: Row[];
  promises: Judged[];
}

/** The share of the cores that other programs may take. */
const CALM = 0.1;

interface Ratio {
  title: string;
  median: number;
  low: number;
  high: number;
}

const COLUMNS: readonly [title: string, figure: Figure, digits: number][] = [
  ['p50 ms', (sample) => sample.p50Ms, 2],
  ['p99 ms', (sample) => sample.p99Ms, 2],
  ['mean batch', (sample) => sample.batchSize, 1],
  ['polls each', (sample) => sample.pollsPerJob, 1],
  ['CPU ms each', (sample) => sample.cpuMsPerJob, 3],
  ['of it HTTP', (sample) => sample.apiCpuMsPerJob, 3],
  ['of it Redis', (sample) => sample.redisCpuMsPerJob, 3],
  ['scripts each', (sample) => sample.scriptsPerJob, 2],
  ['commands in them', (sample) => sample.scriptCommandsPerJob, 1],
  ['memory MB', (sample) => sample.memoryMb, 0],
  ['Redis MB', (sample) => sample.redisMb, 0],
];

/** Returns how many answers were wrong. */
export function wrongAnswers(rows: readonly Row[]): number {
  return rows.flatMap((row) => row.samples).reduce((sum, sample) => sum + (sample.wrong ?? 0), 0);
}

/** Returns the first wrong answer. */
export function firstFault(rows: readonly Row[]): string | undefined {
  return rows.flatMap((row) => row.samples).find((sample) => sample.firstFault)?.firstFault ?? undefined;
}

/** Returns the report as a page. */
export function toMarkdown(report: Report): string {
  const { plan, rows, machine } = report;
  return [
    '# Sluice beside what one would write instead',
    '',
    `${report.date}; ${Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}.`,
    `Medians; rounds: ${plan.rounds}, each with ${plan.seconds} s of load for every row, one system under load at a time.`,
    `One handwritten digit a job: 784 numbers as JSON, ${report.bodyBytes} bytes a request; base64: raw float32.`,
    'The clients share the machine with what they load; each sends its next request when it has its answer.',
    `A poller asks every ${plan.pollMs} ms.`,
    othersLine(rows),
    '',
    ...table(
      ['system', 'load', 'per second', ...COLUMNS.map(([title]) => title), 'wrong answers'],
      rows.map(rowOf),
    ),
    '',
    'Time is from submit to the answer that holds the predictions. CPU: all processes of the system and its Redis. Memory:',
    'proportional set size, all processes of the system; its Redis beside it holds all jobs of the run (Sluice, kept for a day)',
    'or the last thousand (the rival).',
    '',
    ...trialLines(report.trials),
    ...section(
      'Promises',
      ['', 'promise', 'median', 'lowest round', 'highest round', 'goal', ''],
      promiseLines(report),
    ),
    ...section('Ratios', ['', 'median', 'lowest round', 'highest round'], ratioLines(rows)),
  ].join('\n');
}

function section(title: string, head: string[], lines: string[][]): string[] {
  return lines.length === 0 ? [] : [`## ${title}`, '', ...table(head, lines), ''];
}

function rowOf(row: Row): string[] {
  const figures = COLUMNS.map(([, figure, digits]) => format(medianOf(row, figure), digits));
  const isCompared = row.samples.some((sample) => sample.wrong !== undefined);
  const perSecond = format(
    medianOf(row, (sample) => sample.perSecond),
    0,
  );
  return [
    row.name,
    row.detail,
    `${perSecond} ${row.unit}`,
    ...figures,
    isCompared ? String(wrongAnswers([row])) : '–',
  ];
}

/** Where others work, a system of several processes gets a larger share of the machine than one of a single process. */
function othersLine(rows: readonly Row[]): string {
  const shares = rows.flatMap(({ samples }) => samples).flatMap(({ others }) => others ?? []);
  if (shares.length === 0) return 'What other programs of this machine took is not known.';
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const taken = `Other programs took ${percent(median(shares))} of the cores (median; ${percent(Math.max(...shares))} at most)`;
  return median(shares) > CALM ? `${taken}: too much for these ratios to be believed.` : `${taken}.`;
}

function trialLines(trials: readonly Trial[]): string[] {
  if (trials.length === 0) return [];
  const tried = trials.map(({ concurrency, perSecond }) => `${concurrency}: ${format(perSecond, 0)}`);
  return [`The rival's worker concurrency is the best of these, by jobs/s: ${tried.join(', ')}.`, ''];
}

function promiseLines({ promises }: Report): string[][] {
  return promises.map(({ id, title, goal, median, low, high }) => [
    id,
    title,
    ...[median, low, high].map((value) => format(value, 2)),
    goalText(goal),
    verdictOn(goal, median),
  ]);
}

function ratioLines(rows: readonly Row[]): string[][] {
  return ratiosOf(rows)
    .filter(({ median }) => Number.isFinite(median))
    .map(({ title, median, low, high }) => [title, ...[median, low, high].map(times)]);
}

/** Returns the ratios that are not promises; NaN where a row is missing. */
export function ratiosOf(rows: readonly Row[]): Ratio[] {
  const ratio = (title: string, above: RowId, below: RowId, figure: Figure): Ratio => {
    const values = quotientsOf(rows, above, below, figure);
    return { title, median: median(values), low: Math.min(...values), high: Math.max(...values) };
  };
  const perSecond: Figure = (sample) => sample.perSecond;
  return [
    ratio('p50: Sluice ÷ rival, many in flight', 'sluice', 'rival', (sample) => sample.p50Ms),
    ratio('p99: Sluice ÷ rival, many in flight', 'sluice', 'rival', (sample) => sample.p99Ms),
    ratio('CPU a job: Sluice ÷ rival, many in flight', 'sluice', 'rival', (sample) => sample.cpuMsPerJob),
    ratio('jobs/s: Sluice ÷ rival, 1 in flight', 'sluice1', 'rival1', perSecond),
    ratio('jobs/s: Sluice, bulk of numbers ÷ rival, held', 'bulkJson', 'rival', perSecond),
    ratio('jobs/s: Sluice ÷ bare BullMQ, same payload', 'sluice', 'queueRow', perSecond),
    ratio('jobs/s: Sluice ÷ bare tfjs, batch 1', 'sluice', 'backend1', perSecond),
  ];
}

function medianOf(row: Row, figure: Figure): number {
  return median(row.samples.flatMap((sample) => figure(sample) ?? []));
}

function times(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(2)} ×` : '–';
}

function format(value: number, digits: number): string {
  if (!Number.isFinite(value)) return '–';
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

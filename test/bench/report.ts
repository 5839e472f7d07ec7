/**
 * Figures as people read them: the median of the rounds, and ratios of figures of the same round.
 */

export interface Sample {
  perSecond: number;
  p50Ms?: number;
  p99Ms?: number;
  batchSize?: number;
  /** The sum over all processes of the system and its Redis; null where the machine does not tell. */
  cpuMsPerJob: number | null;
  memoryMb?: number | null;
  redisMb?: number | null;
  wrong?: number;
  firstFault?: string | null;
}

export type RowId =
  | 'sluice'
  | 'sluice1'
  | 'rival'
  | 'rival1'
  | 'queueRow'
  | 'queueId'
  | 'backend1'
  | 'backend32';

export interface Row {
  id: RowId;
  name: string;
  detail: string;
  unit: 'jobs' | 'rows';
  /** One a round. */
  samples: Sample[];
}

/** The rival's figures at one worker concurrency. */
export interface Trial {
  concurrency: number;
  perSecond: number;
}

export interface Report {
  date: string;
  machine: Record<string, string | number>;
  plan: { rounds: number; seconds: number; inFlight: number };
  bodyBytes: number;
  trials: Trial[];
  rows: Row[];
}

interface Ratio {
  title: string;
  median: number;
  low: number;
  high: number;
}

type Figure = (sample: Sample) => number | null | undefined;

const COLUMNS: readonly [title: string, figure: Figure, digits: number][] = [
  ['p50 ms', (sample) => sample.p50Ms, 2],
  ['p99 ms', (sample) => sample.p99Ms, 2],
  ['mean batch', (sample) => sample.batchSize, 1],
  ['CPU ms each', (sample) => sample.cpuMsPerJob, 3],
  ['memory MB', (sample) => sample.memoryMb, 0],
  ['Redis MB', (sample) => sample.redisMb, 0],
];

export function wrongAnswers(rows: readonly Row[]): number {
  return rows.flatMap((row) => row.samples).reduce((sum, sample) => sum + (sample.wrong ?? 0), 0);
}

export function firstFault(rows: readonly Row[]): string | undefined {
  return rows.flatMap((row) => row.samples).find((sample) => sample.firstFault)?.firstFault ?? undefined;
}

export function toMarkdown(report: Report): string {
  const { plan, rows, machine } = report;
  return [
    '# Sluice beside what one would write instead',
    '',
    `${report.date}; ${Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}.`,
    `Medians; rounds: ${plan.rounds}, each with ${plan.seconds} s of load for every row, one system under load at a time.`,
    `One handwritten digit a job: 784 numbers as JSON, ${report.bodyBytes} bytes a request.`,
    'The clients share the machine with what they load; each sends its next job when it has its answer.',
    '',
    ...table(
      ['system', 'load', 'per second', ...COLUMNS.map(([title]) => title), 'wrong answers'],
      rows.map(rowOf),
    ),
    '',
    'Time is from submit to the answer that holds the prediction. CPU: all processes of the system and its Redis.',
    'Memory: resident, all processes of the system; its Redis beside it holds all jobs of the run (Sluice, kept for',
    'a day) or the last thousand (the rival).',
    '',
    ...trialLines(report.trials),
    '## Ratios',
    '',
    ...table(
      ['', 'median', 'lowest round', 'highest round'],
      ratiosOf(rows).map(({ title, median, low, high }) => [title, ...[median, low, high].map(times)]),
    ),
    '',
  ].join('\n');
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

function trialLines(trials: readonly Trial[]): string[] {
  if (trials.length === 0) return [];
  const tried = trials.map(({ concurrency, perSecond }) => `${concurrency}: ${format(perSecond, 0)}`);
  return [`The rival's worker concurrency is the best of these, by jobs/s: ${tried.join(', ')}.`, ''];
}

export function ratiosOf(rows: readonly Row[]): Ratio[] {
  const ratio = (title: string, above: RowId, below: RowId, figure: Figure): Ratio => {
    const values = quotients(samplesOf(rows, above), samplesOf(rows, below), figure);
    return { title, median: median(values), low: Math.min(...values), high: Math.max(...values) };
  };
  const perSecond: Figure = (sample) => sample.perSecond;
  const p50: Figure = (sample) => sample.p50Ms;
  const p99: Figure = (sample) => sample.p99Ms;
  const cpu: Figure = (sample) => sample.cpuMsPerJob;
  return [
    ratio('jobs/s: Sluice ÷ rival, many in flight', 'sluice', 'rival', perSecond),
    ratio('p50: Sluice ÷ rival, many in flight', 'sluice', 'rival', p50),
    ratio('p99: Sluice ÷ rival, many in flight', 'sluice', 'rival', p99),
    ratio('CPU a job: Sluice ÷ rival, many in flight', 'sluice', 'rival', cpu),
    ratio('jobs/s: Sluice ÷ rival, 1 in flight', 'sluice1', 'rival1', perSecond),
    ratio('p50: Sluice ÷ rival, 1 in flight', 'sluice1', 'rival1', p50),
    ratio('jobs/s: Sluice ÷ bare BullMQ, same payload', 'sluice', 'queueRow', perSecond),
    ratio('jobs/s: Sluice ÷ bare tfjs, batch 1', 'sluice', 'backend1', perSecond),
  ];
}

/** Round by round; a round that lacks one of the two is left out. */
function quotients(above: readonly Sample[], below: readonly Sample[], figure: Figure): number[] {
  return above.flatMap((sample, round) => {
    const other = below[round];
    const value = (figure(sample) ?? Number.NaN) / ((other && figure(other)) ?? Number.NaN);
    return Number.isFinite(value) ? [value] : [];
  });
}

function samplesOf(rows: readonly Row[], id: RowId): readonly Sample[] {
  return rows.find((row) => row.id === id)?.samples ?? [];
}

function medianOf(row: Row, figure: Figure): number {
  return median(row.samples.flatMap((sample) => figure(sample) ?? []));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] ?? Number.NaN;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? Number.NaN;
}

function times(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(2)} ×` : '–';
}

function format(value: number, digits: number): string {
  if (!Number.isFinite(value)) return '–';
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A Markdown table, padded so that it reads in a terminal too. */
export function table(head: string[], body: string[][]): string[] {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...body.map((cells) => cells[column]?.length ?? 0)),
  );
  const isText = head.map((_, column) => column === 0 || (head.length > 4 && column === 1));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, column) => (isText[column] ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    isText[column] ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(head), line(rule), ...body.map(line)];
}

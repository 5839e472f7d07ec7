/**
 * How jobs a second grow with workers, as people read it: what each number makes of as many single workers, and what bounds it.
 */
import { median, table } from '../figures.js';
import { type Goal, goalText, isMet, type Judged, verdictOn } from '../goals.js';
import { BATCH } from './model.js';

/** Shares of a second, from 0 to 1: of the devices, of the one thread of Redis, of all cores of the machine. */
export interface Load {
  devices: number;
  redis: number;
  cores: number;
}

export interface Sample {
  /** Jobs. */
  perSecond: number;
  meanBatch: number;
  load: Load;
  /** Processor time of Redis. */
  redisMsPerJob: number;
}

export interface Row {
  id: string;
  detail: string;
  deviceMs: number;
  workers: number;
  /** One a round. */
  samples: Sample[];
}

/** P6: jobs a second of n workers ÷ (n × those of one worker in the same round). */
const GOAL: Goal = { least: 0.9 };
/** A part is full above this share; the rest goes into taking turns. */
const FULL = 0.9;
const WALLS: readonly [part: keyof Load, name: string][] = [
  ['devices', 'devices'],
  ['redis', 'Redis'],
  ['cores', 'cores'],
];

/** Returns what bounds the speed: the first part that is full, or a dash when nothing is and time passes between the parts. */
export function wallOf(load: Load): string {
  return WALLS.find(([part]) => load[part] >= FULL)?.[1] ?? '–';
}

/** Returns the promise for every row of more than one worker; each device has a row of one worker. */
export function judge(rows: readonly Row[]): Judged[] {
  return rows
    .filter(({ workers }) => workers > 1)
    .map((row) => {
      const single = rows.find(({ deviceMs, workers }) => deviceMs === row.deviceMs && workers === 1);
      const values = row.samples.map(
        ({ perSecond }, round) =>
          perSecond / (row.workers * (single?.samples[round]?.perSecond ?? Number.NaN)),
      );
      const middle = median(values);
      return {
        id: 'P6',
        title: row.detail,
        goal: GOAL,
        median: middle,
        low: Math.min(...values),
        high: Math.max(...values),
        met: isMet(GOAL, middle),
      };
    });
}

/** Returns the report as a page. */
export function toMarkdown(
  date: string,
  machine: Record<string, string | number>,
  rows: readonly Row[],
): string {
  const facts = Object.entries(machine).map(([name, value]) => `${name} ${value}`);
  return [
    '# How jobs a second grow with workers',
    '',
    `${date}; ${facts.join(', ')}.`,
    `Medians; ratios within a round. Each worker has a simulated device that takes its time for a batch of ${BATCH} and no processor.`,
    'Jobs are four numbers, wait in the queue, and come without HTTP. Full is what is busy for 90 % of the time or more.',
    '',
    ...table(
      [
        'workers',
        'jobs/s',
        'mean batch',
        'devices busy',
        'Redis busy',
        'cores busy',
        'Redis ms each',
        'full',
      ],
      rows.map(rowOf),
    ),
    '',
    '## Promises',
    '',
    ...table(
      ['', 'jobs/s ÷ (n × one worker)', 'median', 'lowest round', 'highest round', 'goal', ''],
      judge(rows).map(({ id, title, median: middle, low, high, goal }) => [
        id,
        title,
        ...[middle, low, high].map((value) => value.toFixed(2)),
        goalText(goal),
        verdictOn(goal, middle),
      ]),
    ),
    '',
    ...limitOf(rows),
    '',
  ].join('\n');
}

function rowOf({ detail, samples }: Row): string[] {
  const over = (figure: (sample: Sample) => number) => median(samples.map(figure));
  const load = {
    devices: over((sample) => sample.load.devices),
    redis: over((sample) => sample.load.redis),
    cores: over((sample) => sample.load.cores),
  };
  return [
    detail,
    over((sample) => sample.perSecond).toFixed(0),
    over((sample) => sample.meanBatch).toFixed(1),
    ...[load.devices, load.redis, load.cores].map((share) => `${(100 * share).toFixed(0)} %`),
    over((sample) => sample.redisMsPerJob).toFixed(3),
    wallOf(load),
  ];
}

/** Redis carries out commands on one thread, so its time a job bounds an installation, whatever the number of workers. */
function limitOf(rows: readonly Row[]): string[] {
  const busiest = rows.reduce<Row | undefined>(
    (most, row) => (redisBusy(row) > redisBusy(most) ? row : most),
    rows[0],
  );
  if (!busiest) return [];
  const msPerJob = median(busiest.samples.map((sample) => sample.redisMsPerJob));
  return [
    `Redis is full at ${(1000 / msPerJob).toFixed(0)} jobs/s by its ${msPerJob.toFixed(3)} ms a job of "${busiest.detail}". This is an`,
    'extrapolation to a machine whose cores and devices bound nothing: starting and settling alone, without submits.',
  ];
}

function redisBusy(row: Row | undefined): number {
  return median(row?.samples.map(({ load }) => load.redis) ?? []);
}

/**
 * Samples: what was measured of a row in one round, and figures of two rows that are compared within a round.
 */

/** One round of a row. Null is a figure that the machine does not tell; a figure that a row does not have is left out. */
export interface Sample {
  /** Jobs or rows. */
  perSecond: number;
  p50Ms?: number;
  p99Ms?: number;
  batchSize?: number;
  /** The share of the machine's cores that processes outside this bench took, from 0 to 1. */
  others?: number | null;
  /** The sum over all processes of the system and its Redis. */
  cpuMsPerJob: number | null;
  /** The part that Redis takes. */
  redisCpuMsPerJob?: number | null;
  /** The part that the process takes that serves HTTP. */
  apiCpuMsPerJob?: number | null;
  /** How often the state of a job was asked for. */
  pollsPerJob?: number;
  /** Scripts that clients called in Redis, and commands that ran inside them, counted in a load of their own. */
  scriptsPerJob?: number;
  scriptCommandsPerJob?: number;
  memoryMb?: number | null;
  redisMb?: number | null;
  wrong?: number;
  firstFault?: string | null;
}

/** The rows in the order of the table. */
export const ROW_IDS = [
  'sluice',
  'sluice1',
  'rival',
  'rival1',
  'queueRow',
  'queueId',
  'backend1',
  'backend32',
  'pollSluice',
  'pollRival',
  'base64',
  'bulk',
  'bulkJson',
  'bareRoute',
] as const;
export type RowId = (typeof ROW_IDS)[number];

export interface Row {
  id: RowId;
  name: string;
  detail: string;
  unit: 'jobs' | 'rows' | 'requests';
  /** One a round. */
  samples: Sample[];
}

export type Figure = (sample: Sample) => number | null | undefined;

/** Returns a figure of a row, round by round; NaN where a round lacks it. */
export function figuresOf(rows: readonly Row[], id: RowId, figure: Figure): number[] {
  const samples = rows.find((row) => row.id === id)?.samples ?? [];
  return samples.map((sample) => figure(sample) ?? Number.NaN);
}

/** Returns the quotients of a figure of two rows, round by round; a round that lacks one of the two is left out. */
export function quotientsOf(rows: readonly Row[], above: RowId, below: RowId, figure: Figure): number[] {
  const divisors = figuresOf(rows, below, figure);
  return figuresOf(rows, above, figure)
    .map((value, round) => value / (divisors[round] ?? Number.NaN))
    .filter(Number.isFinite);
}

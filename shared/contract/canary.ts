/**
 * A canary: a version that gets a share of an alias' jobs, and loses it when it does worse than the version that has the rest.
 *
 *   running -> rolled_back        another move of the alias ends it, too
 *
 * Both are judged by the jobs that ended since it began: by the share that failed, and by the time that their batches computed.
 * What a job waits would tell of a slow canary only where it has children of its own: the others wait behind its batches, too.
 *
 * A canary with a small share has small batches, so times are compared by size: a batch is taken to compute no longer than a larger
 * one of the other version, and no longer than a smaller one as many times as it is larger. The 95th percentile of how many times as long
 * as that its jobs computed is its slowdown. Sizes are kept in powers of two and times in quarters of them, exact to 19 %.
 */
import type { JsonSchema, TypeOf } from './schema.js';

export const canarySchema = {
  type: 'object',
  additionalProperties: false,
  required: ['version', 'percent'],
  properties: {
    version: { type: 'integer', minimum: 1 },
    percent: { type: 'number', exclusiveMinimum: 0, maximum: 100, description: "Share of the alias' jobs." },
    minJobs: {
      type: 'integer',
      minimum: 1,
      description: 'Ended jobs of a version before it is judged, or judged by; 50.',
    },
    maxErrorPercent: {
      type: 'number',
      minimum: 0,
      maximum: 100,
      description: 'Percentage points by which more of its jobs may fail; 5.',
    },
    maxSlowdown: {
      type: 'number',
      minimum: 1,
      description:
        'Factor by which the 95th percentile of the time that its jobs compute may be longer than in batches of such a size of the other version; 2.',
    },
  },
} as const satisfies JsonSchema;

export type CanaryRequest = TypeOf<typeof canarySchema>;

export interface Canary {
  version: number;
  percent: number;
  minJobs: number;
  maxErrorPercent: number;
  maxSlowdown: number;
  state: 'running' | 'rolled_back';
  startedAt: string;
  /** Why and when it was rolled back. */
  reason: string | null;
  endedAt: string | null;
}

/** Jobs of a version that ended. */
export interface VersionOutcomes {
  succeeded: number;
  failed: number;
  times: Times;
}

/** Class of the batch's size -> bucket of the time that it computed -> jobs. */
export type Times = ReadonlyMap<number, ReadonlyMap<number, number>>;

const BUCKETS_AN_OCTAVE = 4;

export function beginCanary({ version, percent, ...limits }: CanaryRequest, startedAt: string): Canary {
  const { minJobs = 50, maxErrorPercent = 5, maxSlowdown = 2 } = limits;
  const running = { state: 'running', startedAt, reason: null, endedAt: null } as const;
  return { version, percent, minJobs, maxErrorPercent, maxSlowdown, ...running };
}

/** The bucket of a duration; all of 1 ms and less share one. */
export function bucketOf(ms: number): number {
  return Math.ceil(Math.log2(Math.max(1, ms)) * BUCKETS_AN_OCTAVE);
}

/** In ms: what the jobs of a bucket computed at most. */
function edgeOf(bucket: number): number {
  return 2 ** (bucket / BUCKETS_AN_OCTAVE);
}

/** Of batches that are compared with each other: sizes up to the same power of two. */
export function sizeClassOf(instances: number): number {
  return Math.ceil(Math.log2(instances));
}

/** Why the canary has to go; null while nothing speaks against it, or too little is known. */
export function faultOf(canary: Canary, own: VersionOutcomes, stable: VersionOutcomes): string | null {
  const { minJobs, maxErrorPercent, maxSlowdown } = canary;
  const jobs = own.succeeded + own.failed;
  if (jobs < minJobs) return null;
  const failing = failedPercent(own);
  const allowed = failedPercent(stable) + maxErrorPercent;
  if (failing > allowed)
    return `${shown(failing)} % of its ${jobs} jobs failed, at most ${shown(allowed)} % may`;
  if (stable.succeeded + stable.failed < minJobs) return null;
  const slowdown = slowdownOf(own.times, stable.times, minJobs);
  if (slowdown > maxSlowdown)
    return `95 % of its jobs computed up to ${shown(slowdown)} times as long as those of the other version in batches of their size`;
  return null;
}

/** 0 where no size of the other version is known well enough. */
function slowdownOf(own: Times, stable: Times, minJobs: number): number {
  const known = [...stable].filter(([, times]) => sum(times.values()) >= minJobs);
  if (known.length === 0) return 0;
  const usual = known.map(([size, times]) => ({ size, ms: percentile95(weighed(times, edgeOf)) }));
  const most = (of: number) => Math.min(...usual.map(({ size, ms }) => ms * 2 ** Math.max(0, of - size)));
  return percentile95(
    [...own].flatMap(([size, times]) => weighed(times, (bucket) => edgeOf(bucket) / most(size))),
  );
}

type Weighed = [value: number, jobs: number];

function weighed(times: ReadonlyMap<number, number>, of: (bucket: number) => number): Weighed[] {
  return [...times].map(([bucket, jobs]) => [of(bucket), jobs]);
}

function failedPercent({ succeeded, failed }: VersionOutcomes): number {
  return failed === 0 ? 0 : (100 * failed) / (succeeded + failed);
}

function percentile95(values: readonly Weighed[]): number {
  const sorted = [...values].sort(([a], [b]) => a - b);
  const all = sum(sorted.map(([, jobs]) => jobs));
  let seen = 0;
  for (const [value, jobs] of sorted) {
    seen += jobs;
    if (seen >= 0.95 * all) return value;
  }
  return 0;
}

function sum(numbers: Iterable<number>): number {
  let all = 0;
  for (const number of numbers) all += number;
  return all;
}

function shown(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/**
 * A canary: a version that gets a share of an alias' jobs, and loses it when it does worse than the version that has the rest.
 *
 *   running -> rolled_back        another move of the alias ends it, too
 *
 * Both are judged by the jobs that ended since it began: by the share that failed, and by the 95th percentile of the time that
 * their batches computed. What a job waits would tell of a slow canary only where it has children of its own: the others wait
 * behind its batches, too. Times are kept in buckets of a quarter of a power of two, so a percentile is exact to 19 %.
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
      description: 'Factor by which the 95th percentile of the time that its jobs compute may be longer; 2.',
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
export interface Outcomes {
  succeeded: number;
  failed: number;
  /** Bucket -> jobs. */
  times: ReadonlyMap<number, number>;
}

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

/** Why the canary has to go; null while nothing speaks against it, or too little is known. */
export function faultOf(canary: Canary, own: Outcomes, stable: Outcomes): string | null {
  const { minJobs, maxErrorPercent, maxSlowdown } = canary;
  const jobs = own.succeeded + own.failed;
  if (jobs < minJobs) return null;
  const failing = failedPercent(own);
  const allowed = failedPercent(stable) + maxErrorPercent;
  if (failing > allowed)
    return `${shown(failing)} % of its ${jobs} jobs failed, at most ${shown(allowed)} % may`;
  if (stable.succeeded + stable.failed < minJobs) return null;
  const [time, usual] = [percentile95(own.times), percentile95(stable.times)];
  if (time > usual * maxSlowdown)
    return `95 % of its jobs computed up to ${shown(time)} ms, those of the other version ${shown(usual)} ms`;
  return null;
}

function failedPercent({ succeeded, failed }: Outcomes): number {
  return failed === 0 ? 0 : (100 * failed) / (succeeded + failed);
}

/** Upper edge of the bucket, in ms. */
function percentile95(times: Outcomes['times']): number {
  const sorted = [...times].sort(([a], [b]) => a - b);
  const all = sorted.reduce((sum, [, jobs]) => sum + jobs, 0);
  let seen = 0;
  for (const [bucket, jobs] of sorted) {
    seen += jobs;
    if (seen >= 0.95 * all) return 2 ** (bucket / BUCKETS_AN_OCTAVE);
  }
  return 0;
}

function shown(value: number): string {
  return String(Number(value.toPrecision(3)));
}

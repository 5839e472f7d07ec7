/**
 * The test that a canary must pass: non-inferiority by fixed margins, on point estimates from at least `minJobs` jobs a version.
 *
 *   failures   its share of failed jobs exceeds that of the other version by at most `maxErrorPercent` percentage points
 *   time       the 95th percentile of its jobs' slowdown is at most `maxSlowdown`
 *
 * It claims no level of significance: an operator who wants fewer false alarms raises `minJobs`. A rank test such as Mann-Whitney's
 * would find smaller differences, but would also roll back a canary that is reliably 1 % slower, which nobody minds.
 *
 * Only computing time counts, because jobs of both versions wait behind each other's batches. A canary with a small share has
 * small batches, so times are compared by batch size: a batch should compute no longer than a larger one of the other version,
 * and no longer than a smaller one times the ratio of their sizes. A job's slowdown is its time divided by the least of these.
 *
 * Times are kept as counts in logarithmic buckets, four to a factor of 2, so that workers add them up and a quantile is exact
 * to 19 % (DDSketch: Masson, Rim, Lee, "A fast and fully-mergeable quantile sketch with relative-error guarantees", 2019).
 */
import type { Canary } from './canary.js';

/** The jobs of a version that ended since the canary began. */
export interface VersionOutcomes {
  succeeded: number;
  failed: number;
  times: Times;
}

/** The number of jobs by the size class of their batch, then by the bucket of the time that the batch computed. */
export type Times = ReadonlyMap<number, ReadonlyMap<number, number>>;

const BUCKETS_AN_OCTAVE = 4;

/** Returns the bucket of a duration in milliseconds. All durations up to 1 ms share one bucket. */
export function timeBucketOf(ms: number): number {
  return Math.ceil(Math.log2(Math.max(1, ms)) * BUCKETS_AN_OCTAVE);
}

/** Returns the class of batches of so many instances: those up to the same power of two are compared with each other. */
export function sizeClassOf(instances: number): number {
  return Math.ceil(Math.log2(instances));
}

/** Returns why the canary has to go; null while nothing speaks against it, or too few jobs have ended. */
export function testCanary(canary: Canary, own: VersionOutcomes, stable: VersionOutcomes): string | null {
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

/** Returns the 95th percentile of the slowdown; 0 where the other version has too few jobs of every size. */
function slowdownOf(own: Times, stable: Times, minJobs: number): number {
  const known = [...stable].filter(([, times]) => sum(times.values()) >= minJobs);
  if (known.length === 0) return 0;
  const usual = known.map(([size, times]) => ({ size, ms: percentile95(weighed(times, longestMs)) }));
  const expectedMs = (of: number) =>
    Math.min(...usual.map(({ size, ms }) => ms * 2 ** Math.max(0, of - size)));
  return percentile95(
    [...own].flatMap(([size, times]) => weighed(times, (bucket) => longestMs(bucket) / expectedMs(size))),
  );
}

/** Returns the longest time of a bucket, in milliseconds. */
function longestMs(bucket: number): number {
  return 2 ** (bucket / BUCKETS_AN_OCTAVE);
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

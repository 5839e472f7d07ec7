/**
 * Scaling policy: how many workers a model needs, from what is seen of its queues now and what is remembered of them.
 *
 *   need     the workers that compute what arrives, or more when what waits would else outlast the target
 *   desired  the greatest need of the last minute, so it rises at once and falls late: it does not flap
 *
 * Promises:
 *   - More workers than there are are asked for only when as many batches wait.
 *   - Nothing waits and next to nothing arrives: the model needs nobody.
 *   - The rate of a worker is measured while a batch waits for each, and remembered else, also while there is no worker.
 */

/** The queues of a model at one moment. */
export interface QueueSight {
  /** Milliseconds since the Unix epoch. */
  atMs: number;
  /** Jobs that wait. */
  backlog: number;
  /** Jobs that were ever submitted, and ever started. */
  submitted: number;
  started: number;
  /** Batches that what waits would fill. */
  batches: number;
  /** Workers that serve the model. */
  workers: number;
  isPaused: boolean;
}

/** The memory of a model from one sight to the next. Sums fade with time. */
export interface ScalingMemory {
  last: QueueSight;
  /** Jobs that arrived, and in how many seconds. */
  arrived: number;
  arrivedSeconds: number;
  /** Jobs that were started while workers were busy, and in how many seconds of workers. */
  startedBusy: number;
  workerSeconds: number;
  /** Needs of the last minute, from the oldest to the newest, without those that a later one exceeds. */
  needs: readonly { atMs: number; workers: number }[];
}

export interface Advice {
  /** Jobs a second. */
  arrivalPerSecond: number;
  /** Jobs a second; null before a worker was measured. */
  perWorkerPerSecond: number | null;
  /** The time in which the workers that are there start all that waits now; null when that is not known. */
  timeToDrainSeconds: number | null;
  desiredWorkers: number;
}

/** The time over which arrivals are averaged, exponentially. */
const ARRIVAL_MEMORY_S = 30;
/** The time, while workers are busy, over which their rate is averaged. */
const RATE_MEMORY_S = 120;
/** A rate counts when it was measured for so many seconds of workers. */
const LEAST_WORKER_SECONDS = 2;
/** Workers are kept as busy as this by what arrives. Above that, queues grow without bound. */
const UTILISATION = 0.85;
/** All that waits is to be started in this share of the target, because more comes meanwhile. */
const DRAIN_SHARE = 2 / 3;
/** The time for which a need is kept. */
const HOLD_MS = 60_000;
/** Fewer jobs than this, expected in the time for which a need is kept, are worth no worker that waits for them. */
const LEAST_EXPECTED = 0.5;

/** Returns what a model needs so that what waits is started within `targetSeconds`, and what is to be remembered of it. */
export function advise(
  sight: QueueSight,
  memory: ScalingMemory | null,
  targetSeconds: number,
): { advice: Advice; memory: ScalingMemory } {
  const sums = addedUp(sight, memory);
  const arrivalPerSecond = sums.arrivedSeconds > 0 ? sums.arrived / sums.arrivedSeconds : 0;
  const isMeasured = sums.workerSeconds >= LEAST_WORKER_SECONDS && sums.startedBusy > 0;
  const rate = isMeasured ? sums.startedBusy / sums.workerSeconds : null;
  const most = Math.max(sight.workers, sight.isPaused ? 0 : sight.batches);
  const workers = Math.min(needOf(sight, arrivalPerSecond, rate, targetSeconds), most);
  const kept = (memory?.needs ?? []).filter(
    (each) => each.atMs > sight.atMs - HOLD_MS && each.workers > workers,
  );
  const needs = [...kept, { atMs: sight.atMs, workers }];
  return {
    advice: {
      arrivalPerSecond,
      perWorkerPerSecond: rate,
      timeToDrainSeconds: drainSeconds(sight, rate),
      desiredWorkers: Math.min(needs[0]?.workers ?? 0, most),
    },
    memory: { last: sight, ...sums, needs },
  };
}

/** A model whose workers were never measured gets one, which is then measured. */
function needOf(
  { backlog, isPaused }: QueueSight,
  arrivalPerSecond: number,
  rate: number | null,
  targetSeconds: number,
): number {
  if (isPaused) return 0;
  const isVisited = backlog > 0 || (arrivalPerSecond * HOLD_MS) / 1000 >= LEAST_EXPECTED;
  if (!isVisited) return 0;
  if (rate === null) return 1;
  const forBacklog = backlog / (DRAIN_SHARE * targetSeconds);
  return Math.max(1, Math.ceil(Math.max(arrivalPerSecond / UTILISATION, forBacklog) / rate));
}

function drainSeconds({ backlog, workers }: QueueSight, rate: number | null): number | null {
  if (backlog === 0) return 0;
  return rate === null || workers === 0 ? null : backlog / (workers * rate);
}

function isFull({ batches, workers }: QueueSight): boolean {
  return workers > 0 && batches >= workers;
}

type Sums = Pick<ScalingMemory, 'arrived' | 'arrivedSeconds' | 'startedBusy' | 'workerSeconds'>;
const NO_SUMS: Sums = { arrived: 0, arrivedSeconds: 0, startedBusy: 0, workerSeconds: 0 };

/** Adds to the sums what happened since the last sight. */
function addedUp(sight: QueueSight, memory: ScalingMemory | null): Sums {
  if (!memory) return NO_SUMS;
  const { last, arrived, arrivedSeconds, startedBusy, workerSeconds } = memory;
  const seconds = (sight.atMs - last.atMs) / 1000;
  if (seconds <= 0) return memory;
  const arrivals = fading(ARRIVAL_MEMORY_S, seconds);
  const sums = {
    arrived: arrivals(arrived, risen(last.submitted, sight.submitted)),
    arrivedSeconds: arrivals(arrivedSeconds, seconds),
    startedBusy,
    workerSeconds,
  };
  // With less before them, workers start what arrives and not what they can.
  const areBusy = last.workers === sight.workers && isFull(last) && isFull(sight);
  if (!areBusy) return sums;
  const starts = fading(RATE_MEMORY_S, seconds);
  return {
    ...sums,
    startedBusy: starts(startedBusy, risen(last.started, sight.started)),
    workerSeconds: starts(workerSeconds, seconds * sight.workers),
  };
}

/** Returns how a sum that fades over `memorySeconds` takes up what came, evenly, in the last `seconds`. */
function fading(memorySeconds: number, seconds: number): (sum: number, more: number) => number {
  const left = Math.exp(-seconds / memorySeconds);
  const share = ((1 - left) * memorySeconds) / seconds;
  return (sum, more) => sum * left + more * share;
}

/** Returns how far a counter has risen. After a failover it may stand before what was seen. */
function risen(before: number, now: number): number {
  return Math.max(0, now - before);
}

/**
 * A simulation of a model's queue and its workers, on a clock of its own: jobs arrive, workers are asked for, start cold, compute,
 * and are let go. One step is a second.
 */
import { advise, type QueueSight, type ScalingMemory } from '../../shared/core/scaling/policy.js';

export interface Course {
  name: string;
  seconds: number;
  /** Returns how many jobs arrive in a second. */
  arrivals(second: number): number;
}

/** Says how many workers there shall be; asked every `SYNC_SECONDS`. */
export type Scaler = (sight: QueueSight, second: number) => number;

export interface Outcome {
  /** The share of the time in which the oldest job had waited no longer than the target. */
  withinTarget: number;
  /** Seconds of workers, from when they were asked for until they were let go. */
  workerSeconds: number;
  /** How often the number of workers that were asked for turned from rising to falling, or back. */
  turns: number;
  /** The most workers at a time. */
  most: number;
}

/** Jobs a second that one worker starts. */
export const RATE = 10;
export const MAX_BATCH = 16;
/** The time from a worker's request until it computes. */
export const COLD_SECONDS = 90;
export const TARGET_SECONDS = 120;
/** Kubernetes looks at its metrics so often. */
const SYNC_SECONDS = 15;

/** Runs a course under a scaler. */
export function simulate(course: Course, scaler: Scaler): Outcome {
  /** Jobs that wait, by the second in which they came; the oldest first. */
  const queue: { second: number; jobs: number }[] = [];
  /** The seconds from which workers compute, the oldest first. */
  const workers: number[] = [];
  const asked: number[] = [];
  let [submitted, started, within, workerSeconds, owed, arriving] = [0, 0, 0, 0, 0, 0];

  for (let second = 0; second < course.seconds; second++) {
    arriving += course.arrivals(second);
    const jobs = Math.floor(arriving);
    arriving -= jobs;
    submitted += jobs;
    if (jobs > 0) queue.push({ second, jobs });
    const ready = workers.filter((from) => from <= second).length;
    owed = Math.min(owed + ready * RATE, ready * RATE + 1);
    for (let can = Math.floor(owed); can > 0 && queue[0]; ) {
      const taken = Math.min(can, queue[0].jobs);
      can -= taken;
      owed -= taken;
      started += taken;
      queue[0].jobs -= taken;
      if (queue[0].jobs === 0) queue.shift();
    }
    if (second - (queue[0]?.second ?? second) <= TARGET_SECONDS) within++;
    workerSeconds += workers.length;
    if (second % SYNC_SECONDS > 0) continue;
    const waiting = queue.reduce((sum, { jobs }) => sum + jobs, 0);
    const sight: QueueSight = {
      atMs: second * 1000,
      backlog: waiting,
      batches: Math.ceil(waiting / MAX_BATCH),
      submitted,
      started,
      workers: ready,
      isPaused: false,
    };
    const wanted = scaler(sight, second);
    asked.push(wanted);
    while (workers.length < wanted) workers.push(second + COLD_SECONDS);
    // Workers that have not begun go first.
    workers.length = wanted;
  }
  return {
    withinTarget: within / course.seconds,
    workerSeconds,
    turns: turnsIn(asked),
    most: Math.max(...asked),
  };
}

/** Returns the scaler of `advise`. */
export function advised(): Scaler {
  let memory: ScalingMemory | null = null;
  return (sight) => {
    const { advice, memory: next } = advise(sight, memory, TARGET_SECONDS);
    memory = next;
    return advice.desiredWorkers;
  };
}

/**
 * Returns a scaler by the length of the queue alone, as a horizontal autoscaler has it by default: one worker for what it starts in the
 * target, and the most of the last five minutes.
 */
export function byLength(): Scaler {
  const held: { atMs: number; workers: number }[] = [];
  return ({ atMs, backlog }) => {
    held.push({ atMs, workers: Math.ceil(backlog / (RATE * TARGET_SECONDS)) });
    while ((held[0]?.atMs ?? atMs) < atMs - 300_000) held.shift();
    return Math.max(...held.map(({ workers }) => workers));
  };
}

/**
 * Returns a scaler that knows the future: so many workers compute in each second as what arrives in the target before it takes, asked for
 * early enough to be warm. It keeps a worker through a gap that is shorter than a cold start.
 */
export function foreseeing(course: Course): Scaler {
  const needed = (second: number) => {
    let jobs = 0;
    for (let at = second - TARGET_SECONDS + 1; at <= second; at++) if (at >= 0) jobs += course.arrivals(at);
    return Math.ceil(jobs / TARGET_SECONDS / RATE - 1e-9);
  };
  const needs = Array.from({ length: course.seconds + COLD_SECONDS + SYNC_SECONDS }, (_, second) =>
    second < course.seconds ? needed(second) : 0,
  );
  return (_, second) => Math.max(...needs.slice(second, second + COLD_SECONDS + SYNC_SECONDS));
}

function turnsIn(asked: readonly number[]): number {
  let [turns, direction] = [0, 0];
  for (const [i, now] of asked.entries()) {
    const step = Math.sign(now - (asked[i - 1] ?? now));
    if (step !== 0 && direction !== 0 && step !== direction) turns++;
    if (step !== 0) direction = step;
  }
  return turns;
}

const HOUR = 3600;
const DAY = 24 * HOUR;

/** The courses of the guide. */
export const COURSES: readonly Course[] = [
  {
    name: 'steps every hour',
    seconds: 6 * HOUR,
    arrivals: (second) => [5, 45, 20, 80, 0, 30][Math.floor(second / HOUR)] ?? 0,
  },
  {
    name: 'bursts of a minute',
    seconds: 6 * HOUR,
    arrivals: (second) => (second % (HOUR / 2) < 60 ? 200 : 2),
  },
  {
    name: 'a day and a night',
    seconds: DAY,
    arrivals: (second) => Math.max(0, 40 - 45 * Math.cos((2 * Math.PI * second) / DAY)),
  },
  {
    name: 'a few jobs an hour',
    seconds: DAY,
    arrivals: (second) => (second % HOUR === HOUR / 2 ? 50 : 0),
  },
];

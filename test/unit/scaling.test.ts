/** How many workers a model needs: the rules one by one, and whole days of a simulation, as the guide shows them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { advise, type QueueSight, type ScalingMemory } from '../../shared/core/scaling/policy.js';
import {
  advised,
  byLength,
  COURSES,
  foreseeing,
  type Outcome,
  type Scaler,
  simulate,
} from '../support/scaling-simulation.js';
import { ROOT } from '../support/stack.js';

const TARGET_S = 60;
const NOBODY: QueueSight = {
  atMs: 1_700_000_000_000,
  backlog: 0,
  batches: 0,
  submitted: 0,
  started: 0,
  workers: 0,
  isPaused: false,
};

/** Looks at a model again and again; every sight changes the one before. */
function watched() {
  let sight = NOBODY;
  let memory: ScalingMemory | null = null;
  return (seconds: number, change: Partial<QueueSight>) => {
    sight = { ...sight, ...change, atMs: sight.atMs + seconds * 1000 };
    const next = advise(sight, memory, TARGET_S);
    memory = next.memory;
    return next.advice;
  };
}

/** A model whose only worker starts 10 jobs a second, and has 10,000 in batches of 10 before it. */
function measured() {
  const look = watched();
  look(0, { backlog: 10_000, batches: 1000, submitted: 10_000, workers: 1 });
  return { look, advice: look(10, { started: 100, backlog: 9900, batches: 990 }) };
}

describe('advise', () => {
  it('needs nobody for a model without jobs', () => {
    expect(watched()(0, {})).toEqual({
      arrivalPerSecond: 0,
      perWorkerPerSecond: null,
      timeToDrainSeconds: 0,
      desiredWorkers: 0,
    });
  });

  it('wants one worker that it can measure, however much waits', () => {
    const look = watched();
    const advice = look(0, { backlog: 5000, batches: 157, submitted: 5000 });
    expect(advice).toMatchObject({ desiredWorkers: 1, perWorkerPerSecond: null, timeToDrainSeconds: null });
  });

  it('then wants as many as start all that waits in two thirds of the target', () => {
    const { advice } = measured();
    expect(advice.perWorkerPerSecond).toBeCloseTo(10, 6);
    expect(advice.timeToDrainSeconds).toBeCloseTo(990, 6);
    expect(advice.desiredWorkers).toBe(Math.ceil(9900 / (10 * 40)));
  });

  it('wants as many as what arrives takes, with some to spare', () => {
    const { look } = measured();
    look(600, { backlog: 0, batches: 0, started: 10_000, workers: 6 });
    // 40 jobs a second arrive, and a little waits, so six workers start less than they can.
    let [submitted, started, desired] = [10_000, 10_000, 0];
    for (let second = 0; second < 120; second++) {
      submitted += 40;
      started += 40;
      desired = look(1, { submitted, started, backlog: 40, batches: 4, workers: 6 }).desiredWorkers;
    }
    expect(desired).toBe(5);
  });

  it('never wants more workers than batches that wait, or than there are', () => {
    const { look } = measured();
    const busy = { backlog: 3, batches: 1, submitted: 200_000 };
    expect(look(61, { ...busy, workers: 0 }).desiredWorkers).toBe(1);
    expect(look(1, { ...busy, workers: 3 }).desiredWorkers).toBe(3);
    // Whoever asked for many cancels them.
    expect(look(1, { backlog: 0, batches: 0, workers: 0 }).desiredWorkers).toBe(0);
  });

  it('keeps what was needed for a minute, and then lets go', () => {
    const { look, advice } = measured();
    const idle = { backlog: 0, batches: 0, workers: advice.desiredWorkers, submitted: 10_000 };
    expect(look(59, idle).desiredWorkers).toBe(advice.desiredWorkers);
    expect(look(2, idle).desiredWorkers).toBeLessThan(advice.desiredWorkers);
    expect(look(300, idle).desiredWorkers).toBe(0);
  });

  it('remembers the rate of a worker while there is none', () => {
    const { look } = measured();
    look(86_400, { backlog: 0, batches: 0, workers: 0 });
    const advice = look(1, { backlog: 1200, batches: 120, submitted: 11_200 });
    expect(advice.perWorkerPerSecond).toBeCloseTo(10, 6);
    expect(advice.desiredWorkers).toBeGreaterThanOrEqual(3);
  });

  it('wants nobody for a paused model', () => {
    const { look } = measured();
    expect(look(61, { isPaused: true, workers: 1, submitted: 11_000 }).desiredWorkers).toBe(0);
  });

  it('bears counters that stand before what was seen', () => {
    const { look } = measured();
    const advice = look(1, { submitted: 0, started: 0 });
    expect(advice.arrivalPerSecond).toBeGreaterThanOrEqual(0);
    expect(advice.perWorkerPerSecond).toBeGreaterThan(0);
  });
});

describe('in a simulation', () => {
  const scalers: [string, (course: (typeof COURSES)[number]) => Scaler][] = [
    ['Sluice', advised],
    ['queue length alone', byLength],
    ['knows the future', foreseeing],
  ];
  const outcomes = COURSES.map((course) => {
    const of = scalers.map(([name, scaler]) => [name, simulate(course, scaler(course))] as const);
    return { course, of: new Map<string, Outcome>(of) };
  });
  const outcome = (all: ReadonlyMap<string, Outcome>, name: string) => all.get(name) as Outcome;

  it.each(outcomes)(
    '$course.name: jobs wait no longer than the target, 95 % of the time, at 1.3 × the workers that suffice',
    ({ of }) => {
      const ours = outcome(of, 'Sluice');
      const best = outcome(of, 'knows the future');
      expect(ours.withinTarget).toBeGreaterThanOrEqual(0.95);
      expect(ours.workerSeconds / best.workerSeconds).toBeLessThanOrEqual(1.3);
      // It does not flap.
      expect(ours.turns).toBeLessThanOrEqual(best.turns + 2);
    },
  );

  it('the guide has these figures', () => {
    const rows = outcomes.flatMap(({ course, of }) =>
      [...of].map(([name, { withinTarget, workerSeconds, turns, most }]) => {
        const ratio = workerSeconds / outcome(of, 'knows the future').workerSeconds;
        const share = `${(100 * withinTarget).toFixed(1)} %`;
        return [course.name, name, share, ratio.toFixed(2), String(turns), String(most)];
      }),
    );
    const guide = readFileSync(join(ROOT, 'deploy/guides/scale-workers.md'), 'utf8');
    const written = guide
      .split('\n')
      .filter((line) => line.startsWith('| ') && /\d %/.test(line))
      .map((line) =>
        line
          .split('|')
          .map((cell) => cell.trim())
          .slice(1, -1),
      );
    expect(written).toEqual(rows);
  });
});

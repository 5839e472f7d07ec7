/**
 * Backend trials: how fast a version is on one backend, and whether it may serve there, found in children of their own.
 *
 *   timing: version loaded, unchecked -> one run -> as many as the plan says        checking: version loaded with all checks
 *
 * Promises:
 *   - A trial holds up no child that serves. Timing yields the processor to them; a check has its share, because a version waits.
 *   - Timing takes no longer than its limit, whatever the version does. Then the child is killed.
 */
import type { Clock } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { BackendName } from '../../backends/backend.js';
import { CallFailed } from '../../process/pending-calls.js';
import type { LoadReport, Speed } from '../protocol/messages.js';
import { BackendRefused, type TrialCalls, type TrialChildDeps, useTrialChild } from './trial-child.js';

export interface TimingTrial {
  backend: BackendName;
  folder: string;
  manifest: Manifest;
  limitMs: number;
  /** Returns the batch sizes to time, by how long the first run took; throws the reason to time none. */
  sizesFor(firstRunMs: number): readonly number[];
  /** Ends the trial early. */
  signal: AbortSignal;
}

/** Trials reject with `BackendRefused` when the backend does not load. */
export interface BackendTrials {
  /**
   * Resolves with the speed at each size of the plan, summed over the children that would serve.
   * @throws {NoFigures} when the backend refuses the version or takes too long, and when the version has no example.
   */
  time(trial: TimingTrial): Promise<Speed[]>;
  /** Resolves when the version may serve on the backend; rejects with the reason when it must not. */
  check(backend: BackendName, folder: string, manifest: Manifest, signal: AbortSignal): Promise<LoadReport>;
}

/** A trial ended without figures. */
export class NoFigures extends Error {
  constructor(
    message: string,
    /** False when another trial may end otherwise, because the child died of something else. */
    readonly isFinal: boolean,
  ) {
    super(message);
  }
}

/** How long one batch size is timed. A single run may be the unlucky one. */
const TIMING = { budgetMs: 100, leastRuns: 3 };
const FIRST_RUN = { batchSize: 1, budgetMs: 0, leastRuns: 1 };

/** Returns the trials of a worker. */
export function createBackendTrials(deps: TrialChildDeps): BackendTrials {
  const { clock, gpusOf } = deps;

  async function time(trial: TimingTrial): Promise<Speed[]> {
    const { backend, limitMs, signal } = trial;
    const limit = startLimit(clock, limitMs);
    try {
      const either = AbortSignal.any([signal, limit.signal]);
      return await useTrialChild(deps, backend, 'background', either, (calls) =>
        timeSizes(calls, trial, gpusOf(backend).length),
      );
    } catch (error) {
      if (limit.signal.aborted)
        throw new NoFigures(`not timed: no figures after ${(limitMs / 1000).toFixed(1)} s`, true);
      if (error instanceof NoFigures || error instanceof BackendRefused) throw error;
      throw new NoFigures(messageOf(error), !isDeath(error));
    } finally {
      limit.cancel();
    }
  }

  return {
    time,
    async check(backend, folder, manifest, signal) {
      const check = () =>
        useTrialChild(deps, backend, 'beside', signal, (calls) => calls.load(folder, manifest));
      // The child may have been killed by somebody else, so one death does not condemn the version.
      return check().catch((error: unknown) => {
        if (signal.aborted || !isDeath(error)) throw error;
        return check();
      });
    },
  };
}

async function timeSizes(
  calls: TrialCalls,
  { folder, manifest, sizesFor }: TimingTrial,
  childCount: number,
): Promise<Speed[]> {
  const { name, version } = manifest;
  await calls.load(folder, manifest, []);
  const first = await calls.measure(name, version, FIRST_RUN);
  if (!first) throw new NoFigures('not timed: no golden instance shows the size of its input', true);
  const speeds: Speed[] = [];
  for (const batchSize of sizesFor(1000 / first.rowsPerSecond)) {
    const speed = await calls.measure(name, version, { ...TIMING, batchSize });
    if (speed) speeds.push({ batchSize, rowsPerSecond: speed.rowsPerSecond * childCount });
  }
  return speeds;
}

function startLimit(clock: Clock, limitMs: number) {
  const late = new AbortController();
  return { signal: late.signal, cancel: clock.after(limitMs, () => late.abort()) };
}

function isDeath(error: unknown): boolean {
  return error instanceof CallFailed && error.code !== 'backend_error';
}

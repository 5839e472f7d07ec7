/**
 * Backend selection: which backend serves a version.
 *
 *   first load -> the backend that was fastest before on this machine, else the first that can load the version
 *   compared -> the fastest of all that can
 *
 * A version serves while its backends are compared, and the comparison has children of its own (backend-trial.ts). A backend
 * that turns out faster serves only after the version passed its golden vectors there.
 */
import type { Clock } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { type BackendName, canRun } from '../../backends/backend.js';
import type { BackendPool } from '../pool/backend-pool.js';
import type { BackendPools } from '../pool/backend-pools.js';
import type { LoadReport, Speed } from '../protocol/messages.js';
import type { BackendTimings, Comparison } from './backend-timings.js';
import { type BackendTrials, NoFigures, type TimingTrial } from './backend-trial.js';
import { BackendRefused } from './trial-child.js';

/** The pool on which a version is loaded. */
export interface SelectedPool {
  pool: BackendPool;
  report: LoadReport;
  /** The comparison is null until the backends have been compared. */
  comparison: Comparison | null;
}

/** A version may serve on this backend. Without a report it has to be checked where it is loaded. */
export interface CheckedVersion {
  backend: BackendName;
  report: LoadReport | null;
}

export interface Compared {
  comparison: Comparison;
  /** The timed backends, the fastest first. */
  ranking: BackendName[];
  /** False when a child died meanwhile, because the version may not be at fault. */
  isFinal: boolean;
}

export interface BackendSelection {
  /**
   * Checks the version in a child of its own, on the backend that shall serve it for now. Rejects with the reasons of all
   * backends when none takes it, and with `NotHere` when this worker has no backend for it.
   */
  check(folder: string, manifest: Manifest, signal: AbortSignal): Promise<CheckedVersion>;
  /** Loads the version on the backend that shall serve it for now. Rejects as `check` does. */
  select(folder: string, manifest: Manifest, checked?: CheckedVersion | null): Promise<SelectedPool>;
  /** Returns whether another backend may turn out to be faster. */
  isOpen(manifest: Manifest): boolean;
  /** Times every backend that can load the version, one after the other, until the signal aborts. */
  compare(folder: string, manifest: Manifest, selected: SelectedPool, signal: AbortSignal): Promise<Compared>;
  /** Loads the version on the fastest backend that takes it; where it is now, nothing is loaded. */
  selectFastest(
    folder: string,
    manifest: Manifest,
    selected: SelectedPool,
    compared: Compared,
  ): Promise<SelectedPool>;
  /** Has the version loaded there first from now on. */
  remember(manifest: Manifest, selected: SelectedPool): void;
}

/** This worker lacks what the version needs. Another worker may have it, so the version has not failed. */
export class NotHere extends Error {}

const EXAMPLE_RUN = { batchSize: 1, budgetMs: 0, leastRuns: 1 };
/** The trial on the backend that serves may take so long, and twice as long as the version took to load there. */
const FIRST_TRIAL_MS = 10_000;
/** The others may take so long, and three times as long as that one took. So a busy machine makes no backend look slow. */
const TRIAL_MS = 2000;
const TRIAL_TIMES = 3;
/** A backend is hopeless when its first run takes so many times as long as the best one's, and longer than noise would. */
const HOPELESS_TIMES = 20;
const LEAST_HOPELESS_MS = 250;
/** A batch that would take longer is timed at a smaller size. */
const MAX_RUN_MS = 500;

/**
 * Returns the selection among the pools of a worker.
 */
export function createBackendSelection(
  pools: BackendPools,
  timings: BackendTimings,
  trials: BackendTrials,
  clock: Clock,
): BackendSelection {
  /** Why a backend does not load here, once that is known. */
  const refusals = new Map(pools.first.backend.refused.map(({ name, reason }) => [name, reason]));
  const namesFor = ({ format }: Manifest) => pools.names.filter((name) => canRun(name, format));

  /** Has each backend that runs the version try, in their order, and resolves with what the first gives that succeeds. */
  async function firstOf<T>(
    manifest: Manifest,
    order: readonly BackendName[],
    act: (name: BackendName) => Promise<T>,
  ) {
    const absent: string[] = [];
    /** The reasons why the version cannot be loaded, each with its backends. */
    const reasons = new Map<string, BackendName[]>();
    const names = namesFor(manifest);
    for (const name of new Set([...order.filter((each) => names.includes(each)), ...names])) {
      try {
        return await act(name);
      } catch (error) {
        const reason = messageOf(error);
        if (error instanceof BackendRefused) absent.push(`${name}: ${reason}`);
        else reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
      }
    }
    if (reasons.size > 0) throw new Error(textOf(reasons));
    throw new NotHere([`no backend of this worker runs the format ${manifest.format}`, ...absent].join('; '));
  }

  /** Passes a trial on, and remembers that its backend does not load. */
  async function remembering<T>(name: BackendName, trial: Promise<T>): Promise<T> {
    try {
      return await trial;
    } catch (error) {
      if (error instanceof BackendRefused) refusals.set(name, error.message);
      throw error;
    }
  }

  async function check(folder: string, manifest: Manifest, signal: AbortSignal): Promise<CheckedVersion> {
    const { backend } = timings.get(manifest) ?? {};
    return firstOf<CheckedVersion>(manifest, backend ? [backend] : [], async (name) => {
      signal.throwIfAborted();
      const refusal = refusals.get(name);
      if (refusal !== undefined) throw new BackendRefused(refusal);
      // A GPU may have no memory for the version twice.
      if (name === 'cuda') return { backend: name, report: null };
      return { backend: name, report: await remembering(name, trials.check(name, folder, manifest, signal)) };
    });
  }

  async function select(
    folder: string,
    manifest: Manifest,
    checked: CheckedVersion | null = null,
  ): Promise<SelectedPool> {
    const { backend, comparison = null } = timings.get(manifest) ?? {};
    const order = [checked?.backend, backend].filter((name) => name !== undefined);
    return firstOf(manifest, order, async (name) => {
      const pool = await pools.of(name).catch((error: unknown) => {
        throw new BackendRefused(messageOf(error));
      });
      const report = name === checked?.backend ? checked.report : null;
      if (report === null) return { pool, report: await pool.load(folder, manifest), comparison };
      const { loadMs } = await pool.load(folder, manifest, report.isolatedSignatures);
      // The first caller waits for no lazy set-up.
      await pool.measure(manifest, EXAMPLE_RUN);
      return { pool, report: { ...report, loadMs }, comparison };
    });
  }

  async function compare(
    folder: string,
    manifest: Manifest,
    { pool, report }: SelectedPool,
    signal: AbortSignal,
  ): Promise<Compared> {
    const plan = createTrialPlan(manifest.batching.maxBatchSize);
    const comparison: Comparison = {};
    const scores = new Map<BackendName, number>();
    let isFinal = true;
    let limitMs = FIRST_TRIAL_MS + 2 * report.loadMs;
    for (const backend of new Set([pool.backend.name, ...namesFor(manifest)])) {
      const startedMs = clock.monotonic();
      try {
        const sizesFor = (firstRunMs: number) => plan.sizesFor(backend, firstRunMs);
        const speeds = await figuresOf({ backend, folder, manifest, limitMs, sizesFor, signal });
        comparison[backend] = speeds;
        scores.set(backend, scoreOf(speeds));
        if (backend === pool.backend.name) limitMs = TRIAL_MS + TRIAL_TIMES * (clock.monotonic() - startedMs);
      } catch (error) {
        signal.throwIfAborted();
        comparison[backend] = messageOf(error);
        if (error instanceof NoFigures && !error.isFinal) isFinal = false;
        // Without figures of the backend that serves there is nothing to compare with.
        if (backend === pool.backend.name) break;
      }
    }
    const ranking = [...scores].sort(([, a], [, b]) => b - a).map(([name]) => name);
    return { comparison, ranking, isFinal };
  }

  async function figuresOf(trial: TimingTrial): Promise<Speed[]> {
    const refusal = refusals.get(trial.backend);
    if (refusal !== undefined) throw new BackendRefused(refusal);
    return remembering(trial.backend, trials.time(trial));
  }

  async function selectFastest(
    folder: string,
    manifest: Manifest,
    selected: SelectedPool,
    { comparison, ranking }: Compared,
  ): Promise<SelectedPool> {
    for (const name of ranking) {
      if (name === selected.pool.backend.name) break;
      try {
        const pool = await pools.of(name);
        return { pool, report: await pool.load(folder, manifest), comparison };
      } catch (error) {
        comparison[name] = messageOf(error);
      }
    }
    return { ...selected, comparison };
  }

  return {
    check,
    select,
    compare,
    selectFastest,
    isOpen: (manifest) => namesFor(manifest).length > 1 && timings.get(manifest) === null,
    remember: (manifest, { pool, comparison }) =>
      timings.set(manifest, { backend: pool.backend.name, comparison: comparison ?? {} }),
  };
}

/** Returns a plan by which all backends are timed at the sizes that suit the first one. */
function createTrialPlan(maxBatchSize: number) {
  let sizes: readonly number[] | null = null;
  let best: { backend: BackendName; ms: number } | null = null;
  return {
    sizesFor(backend: BackendName, firstRunMs: number): readonly number[] {
      if (best && firstRunMs > LEAST_HOPELESS_MS && firstRunMs > HOPELESS_TIMES * best.ms) {
        const times = Math.round(firstRunMs / best.ms);
        throw new NoFigures(`not timed: a row takes ${times} times as long as on ${best.backend}`, true);
      }
      if (!best || firstRunMs < best.ms) best = { backend, ms: firstRunMs };
      const fitting = Math.max(1, Math.floor(MAX_RUN_MS / firstRunMs));
      sizes ??= [...new Set([1, Math.min(maxBatchSize, fitting)])];
      return sizes;
    },
  };
}

/** Returns the one reason, or each reason with its backends. */
function textOf(reasons: ReadonlyMap<string, readonly BackendName[]>): string {
  const all = [...reasons];
  return all.map(([reason, on]) => (all.length === 1 ? reason : `${on.join(', ')}: ${reason}`)).join('; ');
}

/** Returns the logarithm of the geometric mean: twice as fast at one size makes good for half as fast at another. */
function scoreOf(speeds: readonly Speed[]): number {
  return speeds.reduce((sum, { rowsPerSecond }) => sum + Math.log(rowsPerSecond), 0) / speeds.length;
}

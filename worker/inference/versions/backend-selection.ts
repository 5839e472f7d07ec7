/**
 * Backend selection: which backend serves a version.
 *
 *   first load -> the backend that was fastest before on this machine, else the first that can load the version
 *   compared -> the fastest of all that can
 *
 * A version serves while its backends are compared, so that a start waits for nothing. Only a backend on which the version
 * passes its golden vectors is timed at all.
 */
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { type BackendName, canRun } from '../../backends/backend.js';
import { CallFailed } from '../../process/pending-calls.js';
import type { BackendPool } from '../pool/backend-pool.js';
import type { BackendPools } from '../pool/backend-pools.js';
import type { LoadReport, Speed } from '../protocol/messages.js';
import type { BackendTimings, Comparison } from './backend-timings.js';

/** The pool on which a version is loaded. */
export interface SelectedPool {
  pool: BackendPool;
  report: LoadReport;
  /** The comparison is null until the backends have been compared. */
  comparison: Comparison | null;
}

export interface FastestPool extends SelectedPool {
  /** False when the process of a backend died meanwhile, because the version may not be at fault. */
  isFinal: boolean;
}

export interface BackendSelection {
  /**
   * Loads the version on the backend that shall serve it for now. Rejects with the reasons of all backends when none can, and
   * with `NotHere` when this worker has no backend for it.
   */
  select(folder: string, manifest: Manifest): Promise<SelectedPool>;
  /** Returns whether another backend may turn out to be faster. */
  isOpen(manifest: Manifest): boolean;
  /** Times every backend that can load the version. The version stays loaded on the fastest, and where it was. */
  compare(folder: string, manifest: Manifest, selected: SelectedPool): Promise<FastestPool>;
  /** Has the version loaded there first from now on. */
  remember(manifest: Manifest, selected: SelectedPool): void;
}

/** This worker lacks what the version needs. Another worker may have it, so the version has not failed. */
export class NotHere extends Error {}

/** How long one backend is timed at one batch size. */
const BUDGET_MS = 100;

/** Returns the selection among the pools of a worker. */
export function createBackendSelection(pools: BackendPools, timings: BackendTimings): BackendSelection {
  const namesFor = ({ format }: Manifest) => pools.names.filter((name) => canRun(name, format));

  async function select(folder: string, manifest: Manifest): Promise<SelectedPool> {
    const { backend, comparison = null } = timings.get(manifest) ?? {};
    const names = namesFor(manifest);
    const absent: string[] = [];
    /** The reasons why the version cannot be loaded, each with its backends. */
    const reasons = new Map<string, BackendName[]>();
    const remembered = names.filter((name) => name === backend);
    for (const name of new Set([...remembered, ...names])) {
      const pool = await pools
        .of(name)
        .catch((error: unknown) => void absent.push(`${name}: ${messageOf(error)}`));
      if (!pool) continue;
      try {
        return { pool, report: await pool.load(folder, manifest), comparison };
      } catch (error) {
        const reason = messageOf(error);
        reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
      }
    }
    if (reasons.size > 0) throw new Error(textOf(reasons));
    throw new NotHere([`no backend of this worker runs the format ${manifest.format}`, ...absent].join('; '));
  }

  async function compare(folder: string, manifest: Manifest, selected: SelectedPool): Promise<FastestPool> {
    const comparison: Comparison = {};
    let isFinal = true;
    const loaded: (SelectedPool & { score: number })[] = [];
    for (const name of namesFor(manifest)) {
      try {
        const pool = await pools.of(name);
        const report = pool === selected.pool ? selected.report : await pool.load(folder, manifest);
        const candidate = { pool, report, comparison, score: Number.NEGATIVE_INFINITY };
        loaded.push(candidate);
        const speeds = await time(pool, manifest);
        comparison[name] = speeds;
        candidate.score = scoreOf(speeds);
      } catch (error) {
        comparison[name] = messageOf(error);
        if (error instanceof CallFailed && error.code !== 'backend_error') isFinal = false;
      }
    }
    const fastest = loaded.reduce<SelectedPool & { score?: number }>(
      (best, each) => (each.score > (best.score ?? Number.NEGATIVE_INFINITY) ? each : best),
      selected,
    );
    const others = loaded.filter(({ pool }) => pool !== fastest.pool && pool !== selected.pool);
    await Promise.all(others.map(({ pool }) => pool.unload(manifest.name, manifest.version)));
    return { pool: fastest.pool, report: fastest.report, comparison, isFinal };
  }

  return {
    select,
    compare,
    isOpen: (manifest) => namesFor(manifest).length > 1 && timings.get(manifest) === null,
    remember: (manifest, { pool, comparison }) =>
      timings.set(manifest, { backend: pool.backend.name, comparison: comparison ?? {} }),
  };
}

/** Returns the one reason, or each reason with its backends. */
function textOf(reasons: ReadonlyMap<string, readonly BackendName[]>): string {
  const all = [...reasons];
  return all.map(([reason, on]) => (all.length === 1 ? reason : `${on.join(', ')}: ${reason}`)).join('; ');
}

async function time(pool: BackendPool, manifest: Manifest): Promise<Speed[]> {
  const speeds: Speed[] = [];
  for (const batchSize of new Set([1, manifest.batching.maxBatchSize])) {
    const speed = await pool.measure(manifest, batchSize, BUDGET_MS);
    if (speed) speeds.push(speed);
  }
  if (speeds.length === 0) throw new Error('not timed: no golden instance shows the size of its input');
  return speeds;
}

/** Returns the logarithm of the geometric mean: twice as fast at one size makes good for half as fast at another. */
function scoreOf(speeds: readonly Speed[]): number {
  return speeds.reduce((sum, { rowsPerSecond }) => sum + Math.log(rowsPerSecond), 0) / speeds.length;
}

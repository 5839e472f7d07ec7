/**
 * Which backend serves a version: the one that was chosen before on this machine, else the first that can load it until
 * all that can have been timed; then the fastest.
 *
 * A version serves while others are timed for it, so a start waits for nothing. Only a backend on which the version
 * passes its golden vectors is timed at all.
 */
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { type BackendName, canRun } from '../../backends/backend.js';
import { CallFailed } from '../../process/pending-calls.js';
import type { BackendPool } from '../pool/backend-pool.js';
import type { BackendPools } from '../pool/backend-pools.js';
import type { LoadReport, Speed } from '../protocol/messages.js';
import type { Choices, Comparison } from './backend-timings.js';

export interface Placement {
  pool: BackendPool;
  report: LoadReport;
  /** Null until the backends have been compared. */
  comparison: Comparison | null;
}

export interface Compared extends Placement {
  /** False when the process of a backend died meanwhile, of which it may not be at fault. */
  isFinal: boolean;
}

export interface Placing {
  /** Loads the version where it shall serve for now; rejects with every backend's reason when none can, `NotHere` if none may. */
  place(folder: string, manifest: Manifest): Promise<Placement>;
  /** Whether another backend may turn out to be faster. */
  isOpen(manifest: Manifest): boolean;
  /** Times every backend that can load the version; answers where it is fastest. It is loaded there. */
  compare(folder: string, manifest: Manifest, placed: Placement): Promise<Compared>;
  /** Where the version shall be placed from now on. */
  remember(manifest: Manifest, placement: Placement): void;
}

/** This worker has not what it takes. Another may: the version has not failed. */
export class NotHere extends Error {}

/** Of timing one backend at one batch size. */
const BUDGET_MS = 100;

export function createPlacing(pools: BackendPools, choices: Choices): Placing {
  async function place(folder: string, manifest: Manifest): Promise<Placement> {
    const { backend, comparison = null } = choices.get(manifest) ?? {};
    const names = backend && pools.names.includes(backend) ? [backend, ...pools.names] : pools.names;
    const absent: string[] = [];
    /** Why the version does not serve, and on which backends. */
    const reasons = new Map<string, BackendName[]>();
    for (const name of new Set(names.filter((each) => canRun(each, manifest.format)))) {
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
    if (reasons.size === 0)
      throw new NotHere(
        [`no backend of this worker runs the format ${manifest.format}`, ...absent].join('; '),
      );
    throw new Error(told(reasons));
  }

  async function compare(folder: string, manifest: Manifest, placed: Placement) {
    const comparison: Comparison = {};
    let isFinal = true;
    const loaded: (Placement & { score: number })[] = [];
    for (const name of pools.names.filter((each) => canRun(each, manifest.format))) {
      try {
        const pool = await pools.of(name);
        const report = pool === placed.pool ? placed.report : await pool.load(folder, manifest);
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
    const best = loaded.reduce<Placement & { score?: number }>(
      (fastest, each) => (each.score > (fastest.score ?? Number.NEGATIVE_INFINITY) ? each : fastest),
      placed,
    );
    const others = loaded.filter(({ pool }) => pool !== best.pool && pool !== placed.pool);
    await Promise.all(others.map(({ pool }) => pool.unload(manifest.name, manifest.version)));
    return { pool: best.pool, report: best.report, comparison, isFinal };
  }

  return {
    place,
    compare,
    isOpen: (manifest) =>
      pools.names.filter((each) => canRun(each, manifest.format)).length > 1 &&
      choices.get(manifest) === null,
    remember: (manifest, { pool, comparison }) =>
      choices.set(manifest, { backend: pool.backend.name, comparison: comparison ?? {} }),
  };
}

function told(reasons: ReadonlyMap<string, readonly BackendName[]>): string {
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

/** The geometric mean: twice as fast at one size makes good for half as fast at another. */
function scoreOf(speeds: readonly Speed[]): number {
  return speeds.reduce((sum, { rowsPerSecond }) => sum + Math.log(rowsPerSecond), 0) / speeds.length;
}

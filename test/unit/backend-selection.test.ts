/** Which backends are timed, at which sizes and for how long; trials are told, not made. */
import { describe, expect, it } from 'vitest';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import type { BackendName } from '../../worker/backends/backend.js';
import { createBackendSelection } from '../../worker/inference/versions/backend-selection.js';
import { NoFigures, type TimingTrial } from '../../worker/inference/versions/backend-trial.js';
import { BackendRefused } from '../../worker/inference/versions/trial-child.js';
import { createManualClock } from '../support/manual-clock.js';

const manifest = {
  name: 'm',
  version: 1,
  format: 'layers',
  batching: { maxBatchSize: 32, maxDelayMs: 5 },
} as Manifest;
const clock = createManualClock();
const never = new AbortController().signal;

/** A trial of each backend: how long a row takes there, or why it has no figures. */
type Trials = Partial<Record<BackendName, number | Error>>;

function compare(trials: Trials) {
  const limits: Partial<Record<BackendName, number>> = {};
  const time = async ({ backend, sizesFor, limitMs }: TimingTrial) => {
    limits[backend] = limitMs;
    const rowMs = trials[backend] ?? new BackendRefused(`${backend} is not installed`);
    if (rowMs instanceof Error) throw rowMs;
    await clock.advance(rowMs);
    return sizesFor(rowMs).map((batchSize) => ({ batchSize, rowsPerSecond: 1000 / rowMs }));
  };
  const names: BackendName[] = ['wasm', 'cuda', 'native', 'cpu'];
  const first = { backend: { name: 'wasm', refused: [{ name: 'cuda', reason: 'no GPU' }] } };
  const timings = { get: () => null, set: () => undefined };
  const selection = createBackendSelection({ names, first } as never, timings, { time } as never, clock);
  const report = { loadMs: 500, warmUpMs: 0, goldenDifference: null };
  const selected = { pool: first, report, comparison: null } as never;
  return selection.compare('', manifest, selected, never).then((compared) => ({ ...compared, limits }));
}

describe('the comparison of backends', () => {
  it('ranks those that have figures, and says why the others have none', async () => {
    const { ranking, comparison, isFinal } = await compare({ wasm: 2, native: 1, cpu: 8 });
    expect(ranking).toEqual(['native', 'wasm', 'cpu']);
    expect(comparison.cuda).toBe('no GPU');
    expect(comparison.wasm).toEqual([1, 32].map((batchSize) => ({ batchSize, rowsPerSecond: 500 })));
    expect(isFinal).toBe(true);
  });

  it('drops a backend whose first run is 20 times slower than the best, for good', async () => {
    const { ranking, comparison, isFinal } = await compare({ wasm: 100, native: 40, cpu: 900 });
    expect(ranking).toEqual(['native', 'wasm']);
    expect(comparison.cpu).toBe('not timed: a row takes 23 times as long as on native');
    expect(isFinal).toBe(true);
  });

  it('does not take the slow start of a fast backend for that', async () => {
    const { ranking } = await compare({ wasm: 1, native: 200 });
    expect(ranking).toEqual(['wasm', 'native']);
  });

  it('times batches of a size that takes no longer than half a second, the same for all', async () => {
    const { comparison } = await compare({ wasm: 100, native: 30 });
    const sizes = (speeds: unknown) => (speeds as { batchSize: number }[]).map(({ batchSize }) => batchSize);
    expect(sizes(comparison.wasm)).toEqual([1, 5]);
    expect(sizes(comparison.native)).toEqual([1, 5]);
    const slow = await compare({ wasm: 5000, native: 300 });
    expect(sizes(slow.comparison.native)).toEqual([1]);
  });

  it('gives the others a few seconds, and more on a machine that is busy', async () => {
    const { limits } = await compare({ wasm: 4000, native: 1 });
    expect(limits).toEqual({ wasm: 11_000, native: 14_000, cpu: 14_000 });
  });

  it('is final when a backend took too long, and not when its child died', async () => {
    expect(await compare({ wasm: 1, native: new NoFigures('late', true) })).toMatchObject({ isFinal: true });
    expect(await compare({ wasm: 1, native: new NoFigures('died', false) })).toMatchObject({
      isFinal: false,
    });
  });

  it('ends where the backend that serves has no figures', async () => {
    const { comparison, ranking, limits } = await compare({
      wasm: new NoFigures('no example', true),
      native: 1,
    });
    expect([comparison, ranking]).toEqual([{ wasm: 'no example' }, []]);
    expect(limits).not.toHaveProperty('native');
  });
});

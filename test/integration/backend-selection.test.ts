/**
 * Versions on several backends of one worker: compared, chosen, remembered, moved while they serve. Real children.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { createLogger } from '../../shared/base/log.js';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { nativeHome } from '../../shared/native/tensorflow-library.js';
import type { BackendName } from '../../worker/backends/backend.js';
import type { TaskResult } from '../../worker/inference/batching/batcher.js';
import { createInferenceMetrics } from '../../worker/inference/metrics.js';
import { type BackendPool, openBackendPool } from '../../worker/inference/pool/backend-pool.js';
import { type BackendPools, openBackendPools } from '../../worker/inference/pool/backend-pools.js';
import { NotLoaded } from '../../worker/inference/pool/run-elsewhere.js';
import type { InstanceResult } from '../../worker/inference/protocol/messages.js';
import { createBackendSelection } from '../../worker/inference/versions/backend-selection.js';
import { openBackendTimings } from '../../worker/inference/versions/backend-timings.js';
import { createBackendTrials, type TimingTrial } from '../../worker/inference/versions/backend-trial.js';
import { createModelMemory } from '../../worker/inference/versions/model-memory.js';
import { openVersionRoute } from '../../worker/inference/versions/version-route.js';
import { childrenOf } from '../support/processes.js';
import { temporaryFolder } from '../support/started-redis.js';
import { denseByHand, floats, goldenOf, type TinyModel, writeDense } from '../support/tiny-models.js';

let folder: ReturnType<typeof temporaryFolder>;
let pools: BackendPools;
let tiny: TinyModel;
let opened: string[];
let tried: string[];

beforeEach(async () => {
  folder = temporaryFolder();
  tiny = writeDense(folder.path);
  opened = [];
  tried = [];
  pools = await open('auto');
});
afterEach(async () => {
  await pools.close();
  folder.remove();
});

/** On a cache folder without the native library. */
function open(configured: BackendName | 'auto'): Promise<BackendPools> {
  const deps = {
    child: CHILD,
    options: { librariesDir: folder.path, logLevel: 'silent' },
    clock: systemClock,
    log: createLogger('test', 'silent'),
    metrics: createInferenceMetrics(new Registry()),
  };
  return openBackendPools(configured, (backend) => {
    opened.push(backend);
    return openBackendPool(deps, backend);
  });
}

const CHILD = new URL('../../dist/worker/inference/child/main.js', import.meta.url);
const FAKE_CHILD = new URL('../../.build/test/support/fake-child.js', import.meta.url);
const never = new AbortController().signal;

function selectionAmong(among: BackendPools, child = CHILD) {
  const timings = openBackendTimings(folder.path, (error) => {
    throw error;
  });
  const trials = trialsIn(child);
  const time = (trial: TimingTrial) => {
    tried.push(trial.backend);
    return trials.time(trial);
  };
  return createBackendSelection(among, timings, { ...trials, time }, systemClock);
}

function trialsIn(child: URL) {
  const options = { librariesDir: folder.path, logLevel: 'silent' };
  const log = createLogger('test', 'silent');
  return createBackendTrials({ child, options, gpusOf: () => [null], clock: systemClock, log });
}

const taskOf = ({ manifest }: TinyModel, row: number[]) => ({
  kind: `${manifest.name}@${manifest.version}|x:3;`,
  policy: { ...manifest.batching, maxInFlight: 2 },
  instances: [floats('x', row)],
  bytes: 12,
  timeoutMs: 30_000,
});

function valuesOf({ results: [result] }: TaskResult<InstanceResult>): number[] | string | undefined {
  if (!result?.ok) return result?.code;
  const [output] = Object.values(result.outputs);
  return [...toTypedArray('float32', output?.data ?? new Uint8Array())];
}

describe('the backend of a version', () => {
  it('is the first that loads, then the fastest of all, then the one remembered', async () => {
    const { folder: path, manifest } = tiny;
    const selection = selectionAmong(pools);
    const selected = await selection.select(path, manifest);
    expect(selected).toMatchObject({ pool: pools.first, comparison: null });
    expect(selection.isOpen(manifest)).toBe(true);

    const compared = await selection.compare(path, manifest, selected, never);
    const { cuda, native, wasm, cpu } = compared.comparison;
    expect([cuda, native]).toEqual([expect.any(String), expect.stringContaining('backend:install')]);
    expect(`${cuda} ${native}`, 'nobody has set a variable').not.toContain('SLUICE_');
    // On a busy machine the first run may take so long that batches are timed at a smaller size.
    for (const speeds of [wasm, cpu])
      expect(speeds).toContainEqual({ batchSize: 1, rowsPerSecond: expect.any(Number) });
    const score = (speeds: unknown) =>
      (speeds as { rowsPerSecond: number }[]).reduce((product, each) => product * each.rowsPerSecond, 1);
    expect(compared.ranking).toEqual(score(wasm) >= score(cpu) ? ['wasm', 'cpu'] : ['cpu', 'wasm']);
    expect(compared.isFinal).toBe(true);
    // The trials had children of their own, and a backend that does not load is not tried again.
    expect(opened).toEqual(['auto']);
    expect(tried).toEqual(['wasm', 'native', 'cpu']);
    await selection.compare(path, manifest, selected, never);
    expect(tried).toEqual(['wasm', 'native', 'cpu', 'wasm', 'cpu']);

    const fastest = await selection.selectFastest(path, manifest, selected, {
      ...compared,
      ranking: ['cpu', 'wasm'],
    });
    expect(fastest.pool.backend.name).toBe('cpu');
    selection.remember(manifest, fastest);
    expect(selection.isOpen(manifest)).toBe(false);
    const again = await selectionAmong(pools).select(path, manifest);
    expect(again.pool.backend.name).toBe('cpu');
    expect(again.comparison).toEqual(compared.comparison);
    // Other weights, or another batch size, are another question.
    const changed = { ...manifest, batching: { ...manifest.batching, maxBatchSize: 2 } };
    expect(selection.isOpen(changed)).toBe(true);
    // So is another backend that can be used.
    const refuse = (error: unknown) => {
      throw error;
    };
    const fastestWith = (gpus: string[]) => openBackendTimings(folder.path, refuse, { gpus }).get(manifest);
    expect(fastestWith([])).not.toBeNull();
    expect(fastestWith(['0'])).toBeNull();
    const home = nativeHome(folder.path, 'cpu');
    mkdirSync(home.root);
    writeFileSync(home.manifest, '{}');
    expect(fastestWith([])).toBeNull();
  });

  it('is not settled when a child dies while it is tried', async () => {
    const { folder: path, manifest } = tiny;
    const selection = selectionAmong(
      pools,
      new URL('../../.build/test/support/fake-child.js', import.meta.url),
    );
    const selected = await selection.select(path, manifest);
    const compared = await selection.compare(path, { ...manifest, name: 'mortal' }, selected, never);
    expect(compared).toMatchObject({ isFinal: false, ranking: [] });
  });

  it('is checked apart, and the version is loaded there without further checks', async () => {
    const { folder: path, manifest } = tiny;
    const selection = selectionAmong(pools);
    const checked = await selection.check(path, manifest, never);
    expect(checked).toMatchObject({ backend: 'wasm', report: { warmUpMs: expect.any(Number) } });
    const { pool, report } = await selection.select(path, manifest, checked);
    expect(pool).toBe(pools.first);
    expect(report.warmUpMs).toBe(checked.report?.warmUpMs);
    const result = await pool.submit(taskOf(tiny, [1, 2, 3]));
    expect(valuesOf(result)).toEqual(denseByHand([1, 2, 3]));
  });

  it('is refused apart for what its golden vectors say', async () => {
    const wrong = writeDense(folder.path, { name: 'wrong', golden: goldenOf([[1, 2, 3]], [[0, 0]]) });
    const checking = selectionAmong(pools).check(wrong.folder, wrong.manifest, never);
    await expect(checking).rejects.toThrow('golden instance 0');
  });

  it('refuses a version that kills its child twice, and no child that serves', async () => {
    const { folder: path, manifest } = tiny;
    const selection = selectionAmong(pools, FAKE_CHILD);
    const pids = childrenOf(process.pid);
    await expect(selection.check(path, { ...manifest, name: 'mortal' }, never)).rejects.toThrow();
    expect(childrenOf(process.pid)).toEqual(pids);
  });

  it('stays where it was when the faster one does not take the version', async () => {
    const { folder: path, manifest } = tiny;
    const selection = selectionAmong(pools);
    const selected = await selection.select(path, manifest);
    const cpu = await pools.of('cpu');
    cpu.load = () => Promise.reject(new Error('golden instance 0 differs'));
    const compared = { comparison: {}, ranking: ['cpu' as const, 'wasm' as const], isFinal: true };
    const fastest = await selection.selectFastest(path, manifest, selected, compared);
    expect(fastest.pool).toBe(selected.pool);
    expect(fastest.comparison).toEqual({ cpu: 'golden instance 0 differs' });
  });

  it('has no figures of a backend that takes too long, and its child is killed', async () => {
    const manifest = { ...tiny.manifest, name: 'endless' };
    const plan = { limitMs: 500, sizesFor: () => [1], signal: never };
    const before = childrenOf(process.pid);
    const trying = trialsIn(FAKE_CHILD).time({ backend: 'cpu', folder: tiny.folder, manifest, ...plan });
    await expect(trying).rejects.toThrow('not timed: no figures after 0.5 s');
    expect(childrenOf(process.pid)).toEqual(before);
  });

  it('is left open when the comparison is ended', async () => {
    const { folder: path, manifest } = tiny;
    const selection = selectionAmong(pools);
    const selected = await selection.select(path, manifest);
    const ending = new AbortController();
    const comparing = selection.compare(path, manifest, selected, ending.signal);
    ending.abort(new Error('The worker closes.'));
    await expect(comparing).rejects.toThrow('The worker closes.');
    expect(tried).toEqual(['wasm']);
    expect(selection.isOpen(manifest)).toBe(true);
  });

  it('is the configured one and no other', async () => {
    const one = await open('cpu');
    expect(one.names).toEqual(['cpu']);
    expect(selectionAmong(one).isOpen(tiny.manifest)).toBe(false);
    await one.close();
    await expect(open('native')).rejects.toThrow(
      /^SLUICE_BACKEND=native: native cannot serve: .*\nInstall what it needs, or choose another/,
    );
  });

  it('is not compared twice, nor opened again once refused', async () => {
    await expect(pools.of('cuda')).rejects.toThrow();
    await expect(pools.of('native')).rejects.toThrow();
    await expect(pools.of('native')).rejects.toThrow();
    await Promise.all([pools.of('cpu'), pools.of('cpu')]);
    expect(opened).toEqual(['auto', 'native', 'cpu']);
    await pools.closeUnused((pool) => pool === pools.first);
    const cpu = await pools.of('cpu');
    expect(cpu.backend.name).toBe('cpu');
  });

  it('changes while tasks come: each has its result once, and the old backend is rid of the version', async () => {
    const { folder: path, manifest } = tiny;
    const first: BackendPool = pools.first;
    const second = await pools.of('cpu');
    await Promise.all([first.load(path, manifest), second.load(path, manifest)]);
    const route = await openVersionRoute({
      folder: path,
      manifest,
      bytes: 0,
      memory: createModelMemory(0, systemClock),
      loadFirst: async () => first,
      onLost: () => undefined,
      metrics: createInferenceMetrics(new Registry()),
      log: createLogger('test', 'silent'),
    });
    const rows = Array.from({ length: 200 }, (_, i) => [i, 1, -i]);
    const results: Promise<TaskResult<InstanceResult>>[] = [];
    let moved: Promise<void> | undefined;
    for (const [i, row] of rows.entries()) {
      results.push(route.submit(taskOf(tiny, row)));
      if (i === 100) moved = route.move(second);
      if (i % 10 === 0) await new Promise(setImmediate);
    }
    expect(route.pool).toBe(second);
    const values = (await Promise.all(results)).map(valuesOf);
    for (const [i, row] of rows.entries()) {
      const expected = denseByHand(row);
      expect(values[i]).toHaveLength(expected.length);
      for (const [k, value] of expected.entries()) expect((values[i] as number[])[k]).toBeCloseTo(value, 4);
    }
    await moved;
    await expect(first.submit(taskOf(tiny, [1, 2, 3]))).rejects.toThrow(NotLoaded);
  });
});

/** One model in a pool of two real children. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import { createLogger } from '../../shared/base/log.js';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { createInferenceMetrics } from '../../worker/inference/metrics.js';
import { type BackendPool, openBackendPool } from '../../worker/inference/pool/backend-pool.js';
import { NotLoaded } from '../../worker/inference/pool/run-elsewhere.js';
import { temporaryFolder } from '../support/started-redis.js';
import { denseByHand, floats, type TinyModel, writeCentred, writeDense } from '../support/tiny-models.js';

const TASKS = 200;

let folder: ReturnType<typeof temporaryFolder>;
let pool: BackendPool;
let registry: Registry;
let tiny: TinyModel;

beforeEach(async () => {
  folder = temporaryFolder();
  tiny = writeDense(folder.path);
  registry = new Registry();
  const deps = {
    child: new URL('../../dist/worker/inference/child/main.js', import.meta.url),
    options: { librariesDir: folder.path, logLevel: 'silent' },
    childCount: 2,
    hardwareOf: () => ({ name: 'a CPU', memoryBytes: 1e9 }),
    clock: systemClock,
    log: createLogger('test', 'silent'),
    metrics: createInferenceMetrics(registry),
  };
  pool = await openBackendPool(deps, 'wasm');
});
afterEach(async () => {
  await pool.close();
  folder.remove();
});

const pids = () => pool.describe().map(({ pid }) => pid as number);

async function submit(row: number[]): Promise<number[] | string> {
  const { name, version, batching } = tiny.manifest;
  const { results } = await pool.submit({
    kind: `${name}@${version}|x:3;`,
    policy: { ...batching, maxBatchSize: 4, maxInFlight: 2 },
    instances: [floats('x', row)],
    bytes: 12,
    timeoutMs: 30_000,
  });
  const [result] = results;
  if (!result?.ok) return result?.code ?? 'nothing';
  return [...toTypedArray('float32', Object.values(result.outputs)[0]?.data ?? new Uint8Array())];
}

async function submitAll(disturb: () => void = () => {}): Promise<void> {
  const rows = Array.from({ length: TASKS }, (_, i) => [i, 1, -i]);
  const outputs = rows.map(submit);
  disturb();
  for (const [i, output] of (await Promise.all(outputs)).entries()) {
    const expected = denseByHand(rows[i] as number[]);
    expect(output).toHaveLength(expected.length);
    for (const [k, value] of expected.entries()) expect((output as number[])[k]).toBeCloseTo(value, 4);
  }
}

describe('a pool of two children', () => {
  it('computes each job by itself where its predictions would depend on others', async () => {
    const centred = writeCentred(folder.path);
    const { isolatedSignatures } = await pool.load(centred.folder, centred.manifest);
    expect(isolatedSignatures).toEqual(['serving_default']);
    const task = (job: number, value: number) =>
      pool.submit({
        kind: 'centred@1|x:2;',
        owner: `job_${job}`,
        policy: { maxBatchSize: 8, maxDelayMs: 50, maxInFlight: 2 },
        instances: [floats('x', [value, 2 * value])],
        bytes: 8,
        timeoutMs: 30_000,
      });
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => task(i, i + 1)));
    for (const { results: own, batchSize } of results) {
      expect(batchSize).toBe(1);
      const [result] = own;
      const y = result?.ok ? result.outputs.y : undefined;
      expect([...toTypedArray('float32', y?.data ?? new Uint8Array())]).toEqual([0, 0]);
    }
  });

  it('has the version loaded and unloaded in both, and both compute its batches', async () => {
    const { folder: path, manifest } = tiny;
    await pool.load(path, manifest);
    expect(pool.describe()).toMatchObject(
      [1, 2].map(() => ({ backend: 'wasm', device: 'cpu', name: 'a CPU', memoryBytes: 1e9, rssBytes: null })),
    );
    expect(new Set(pids()).size).toBe(2);
    await submitAll();
    for (const { rssBytes } of pool.describe()) expect(rssBytes, 'it has computed').toBeGreaterThan(0);
    expect(await pool.measure(manifest, { batchSize: 2, budgetMs: 20, leastRuns: 3 })).toMatchObject({
      batchSize: 2,
    });
    await pool.unload(manifest.name, manifest.version);
    await expect(submit([1, 2, 3])).rejects.toThrow(NotLoaded);
  });

  it('loses nothing but a batch to the death of one, which comes back with the version', async () => {
    await pool.load(tiny.folder, tiny.manifest);
    const [first, second] = pids() as [number, number];
    await submitAll(() => process.kill(first, 'SIGKILL'));
    await expect.poll(() => pids()[0] ?? first, { timeout: 10_000 }).not.toBe(first);
    process.kill(second, 'SIGKILL');
    await submitAll();
  });

  it('tells its devices in the metrics while it is open', async () => {
    const told = async () => (await registry.metrics()).match(/^sluice_(backend_info|device_memory).*/gm);
    expect(await told()).toEqual([
      'sluice_backend_info{backend="wasm",device="cpu",name="a CPU"} 1',
      'sluice_device_memory_bytes{backend="wasm",device="cpu"} 1000000000',
    ]);
    await pool.close();
    expect(await told()).toBeNull();
  });

  it('gives each its share of the cores', () => {
    const [first = 0, second = 0] = pids();
    const share = String(Math.max(1, Math.floor(availableParallelism() / 2)));
    for (const pid of [first, second]) {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      expect(environment).toContain(`TF_NUM_INTRAOP_THREADS=${share}`);
    }
  });

  it('is refused what one of them cannot load', async () => {
    const broken = { ...tiny.manifest, files: { ...tiny.manifest.files } };
    for (const path of Object.keys(broken.files)) broken.files[path] = '0'.repeat(64);
    await expect(pool.load(tiny.folder, broken)).rejects.toThrow();
    await expect(submit([1, 2, 3])).rejects.toThrow(NotLoaded);
  });
});

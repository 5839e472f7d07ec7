/** The memory budget and the routes of versions that share it, over pools that only tell what is loaded. */
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createLogger } from '../../shared/base/log.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { createInferenceMetrics } from '../../worker/inference/metrics.js';
import type { BackendPool } from '../../worker/inference/pool/backend-pool.js';
import { createModelMemory, MIN_STAY_MS } from '../../worker/inference/versions/model-memory.js';
import { openVersionRoute, type VersionRoute } from '../../worker/inference/versions/version-route.js';
import { createManualClock } from '../support/manual-clock.js';

/** A pool that loads, unloads and computes one version: nothing else of a pool is used here. */
type PoolOfOne = Pick<BackendPool, 'load' | 'unload' | 'submit'>;

function setUp(maxBytes: number) {
  const clock = createManualClock();
  const memory = createModelMemory(maxBytes, clock);
  const acts: string[] = [];
  const inside = new Set<string>();
  let bytes = 0;
  let peak = 0;
  const model = (name: string, size: number, fails: { now: boolean } = { now: false }) => {
    let computing = 0;
    /** By the kind of a task: called when it is asked to give way. */
    const asked = new Map<string, () => void>();
    const compute = async (ms: number) => {
      expect(inside.has(name)).toBe(true);
      computing++;
      await new Promise<void>((resolve) => void clock.after(ms, resolve));
      computing--;
      expect(inside.has(name)).toBe(true);
      return { results: [], waitMs: 0, computeMs: ms, batchSize: 1 };
    };
    const pool: PoolOfOne = {
      async load() {
        if (fails.now) throw new Error(`${name} cannot be loaded`);
        acts.push(`+${name}`);
        expect(inside.has(name)).toBe(false);
        inside.add(name);
        bytes += size;
        peak = Math.max(peak, bytes);
        return {
          loadMs: 0,
          warmUpMs: 0,
          goldenDifference: null,
          isolatedSignatures: [],
          wasComputed: true,
          warnings: [],
        };
      },
      async unload() {
        if (fails.now) throw new Error(`${name} cannot be unloaded`);
        acts.push(`-${name}`);
        expect(computing).toBe(0);
        inside.delete(name);
        bytes -= size;
      },
      submit({ kind, timeoutMs, signal }) {
        signal?.addEventListener('abort', () => asked.get(kind)?.());
        return compute(timeoutMs);
      },
    };
    const manifest = { name, version: 1 } as Manifest;
    let opened: Promise<VersionRoute> | null = null;
    const open = () => {
      opened ??= openVersionRoute({
        folder: '',
        manifest,
        bytes: size,
        memory,
        async loadFirst() {
          await pool.load('', manifest);
          return pool as BackendPool;
        },
        onLost: () => undefined,
        metrics: createInferenceMetrics(new Registry()),
        log: createLogger('test', 'silent'),
      }).catch((error: unknown) => {
        opened = null;
        throw error;
      });
      return opened;
    };
    return {
      /** `onWanted`: others wait for its memory; only work in the background is asked to give way. */
      async run(ms = 0, onWanted?: () => void) {
        const route = await open();
        const kind = `${name} ${asked.size}`;
        if (onWanted) asked.set(kind, onWanted);
        await route.submit({
          kind,
          policy: { maxBatchSize: 1, maxDelayMs: 0, maxInFlight: 1 },
          instances: [],
          bytes: 0,
          timeoutMs: ms,
          ...(onWanted && { isBackground: true }),
        });
        return name;
      },
      free: async () => (await open()).close(),
    };
  };
  return { clock, memory, acts, model, peak: () => peak };
}

describe('a model memory', () => {
  it('without a budget keeps everything', async () => {
    const { clock, memory, acts, model } = setUp(0);
    const runs = Promise.all(['a', 'b', 'c'].map((name) => model(name, 1000).run()));
    await clock.advance(0);
    expect(await runs).toEqual(['a', 'b', 'c']);
    expect(acts).toEqual(['+a', '+b', '+c']);
    expect(memory.bytes).toBe(3000);
  });

  it('evicts what was used least recently, and loads it again when it is asked for', async () => {
    const { clock, memory, acts, model } = setUp(20);
    const [a, b, c] = [model('a', 10), model('b', 10), model('c', 10)];
    for (const each of [a, b, a, c, b]) {
      const run = each.run();
      await clock.advance(MIN_STAY_MS);
      await run;
    }
    expect(acts).toEqual(['+a', '+b', '-b', '+c', '-a', '+b']);
    expect(memory.bytes).toBe(20);
  });

  it('makes room for a large one by as many as it takes', async () => {
    const { clock, acts, model } = setUp(20);
    const [a, b, large] = [model('a', 10), model('b', 10), model('large', 15)];
    for (const each of [a, b, large]) {
      const run = each.run();
      await clock.advance(MIN_STAY_MS);
      await run;
    }
    expect(acts).toEqual(['+a', '+b', '-a', '-b', '+large']);
  });

  it('waits for what computes', async () => {
    const { clock, acts, model } = setUp(10);
    const [a, b] = [model('a', 10), model('b', 10)];
    void a.run(5000);
    await clock.advance(0);
    const run = b.run();
    await clock.advance(4999);
    expect(acts).toEqual(['+a']);
    await clock.advance(1);
    expect(await run).toBe('b');
    expect(acts).toEqual(['+a', '-a', '+b']);
  });

  it('lets two that are always busy take turns of at least the shortest stay', async () => {
    const { clock, acts, model } = setUp(10);
    const [a, b] = [model('a', 10), model('b', 10)];
    const done = { a: 0, b: 0 };
    const busy = async (each: typeof a, name: 'a' | 'b') => {
      while (done.a + done.b < 200) {
        await each.run(100);
        done[name]++;
      }
    };
    const both = Promise.all([busy(a, 'a'), busy(b, 'b')]);
    await clock.advance(60_000);
    await both;
    expect(Math.min(done.a, done.b)).toBeGreaterThan(80);
    expect(acts.length).toBeLessThan(2 * (200 / (MIN_STAY_MS / 100) + 2));
  });

  it('has its room back from one that cannot be loaded', async () => {
    const { clock, memory, model } = setUp(10);
    const fails = { now: true };
    const a = model('a', 10, fails);
    await expect(a.run()).rejects.toThrow('a cannot be loaded');
    expect(memory.bytes).toBe(0);
    fails.now = false;
    const run = a.run();
    await clock.advance(0);
    expect(await run).toBe('a');
  });

  it('frees one for good, after its uses', async () => {
    const { clock, memory, acts, model } = setUp(10);
    const a = model('a', 10);
    void a.run(100);
    await clock.advance(0);
    const freed = a.free();
    await clock.advance(99);
    expect(acts).toEqual(['+a']);
    await clock.advance(1);
    await freed;
    expect(memory.bytes).toBe(0);
  });

  it('asks background work to give way when others wait', async () => {
    const { clock, model } = setUp(10);
    const wanted: string[] = [];
    const a = model('a', 10);
    void a.run(500, () => wanted.push('done before'));
    const long = a.run(5000, () => wanted.push('long'));
    await clock.advance(1);
    const other = model('b', 10).run();
    await clock.advance(MIN_STAY_MS - 2);
    expect(wanted).toEqual([]);
    await clock.advance(1);
    expect(wanted).toEqual(['long']);
    await clock.advance(5000);
    expect(await Promise.all([long, other])).toEqual(['a', 'b']);
  });

  it('asks no more for the room of one that could not be unloaded', async () => {
    const { clock, model } = setUp(10);
    const fails = { now: false };
    void model('a', 10, fails).run();
    await clock.advance(1);
    fails.now = true;
    const b = model('b', 10);
    const refused = b.run().catch(String);
    await clock.advance(MIN_STAY_MS);
    expect(await refused).toContain('a cannot be unloaded');
    const run = b.run();
    await clock.advance(1);
    expect(await run).toBe('b');
  });

  it('lets those that wait go when it is closed', async () => {
    const { clock, memory, model } = setUp(10);
    void model('a', 10).run();
    await clock.advance(0);
    const run = model('b', 10).run();
    run.catch(() => undefined);
    await clock.advance(1);
    memory.close();
    await clock.advance(0);
    await expect(run).rejects.toThrow('closed');
  });

  it('never holds more than its budget, and serves everybody, whatever comes', async () => {
    const use = fc.record({ model: fc.nat(4), atMs: fc.nat(20_000), ms: fc.nat(3000) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(use, { maxLength: 40 }),
        fc.integer({ min: 7, max: 20 }),
        async (uses, budget) => {
          const { clock, model, peak } = setUp(budget);
          const models = [1, 2, 3, 5, 7].map((bytes, i) => model(`m${i}`, bytes));
          let served = 0;
          for (const { model: index, atMs, ms } of uses)
            clock.after(atMs, () => void models[index]?.run(ms).then(() => served++));
          await clock.advance(20_000 + uses.length * (3000 + MIN_STAY_MS));
          expect(served).toBe(uses.length);
          expect(peak()).toBeLessThanOrEqual(budget);
        },
      ),
      { numRuns: 50 },
    );
  });
});

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../shared/base/clock.js';
import { createLogger } from '../../shared/base/log.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import type { Instance } from '../../shared/contract/tensors/tensor.js';
import { type BackendChildren, startBackendChildren } from '../../worker/inference/pool/backend-children.js';
import { type BatchRunner, createBatchRunner } from '../../worker/inference/pool/batch-runner.js';
import type { ChildTiming } from '../../worker/inference/pool/child-supervisor.js';
import { NotLoaded, StandsStill } from '../../worker/inference/pool/run-elsewhere.js';
import type { InstanceResult } from '../../worker/inference/protocol/messages.js';
import { LOOP_WAIT_MS, MAX_DEATHS } from '../../worker/process/crash-loop.js';
import type { RecycleLimits } from '../../worker/process/recycle-policy.js';

const THROWS = -1;
const ABORTS = -2;
const HANGS = -3;
const NOT_A_NUMBER = -4;
const HANGS_ONCE = -5;
const IS_LATE = -6;
const NEEDS_MEMORY = -7;
const NEEDS_ROOM = -8;
const TOO_LARGE = -9;
const SICKENS = -10;
/** For a timer and a process's end to be noticed on a busy machine. */
const SLACK_MS = 2000;
/** The wait of a crash loop takes half a second on this clock, and all else its time. */
const IMPATIENT: Clock = {
  ...systemClock,
  after: (delayMs, act) => systemClock.after(delayMs === LOOP_WAIT_MS ? 500 : delayMs, act),
};

let children: BackendChildren;
let runner: BatchRunner;
let deaths = 0;
let recycled = 0;
/** The names of versions that could not be loaded again. */
let lost: string[] = [];
/** Whether the children stood still, at each change. */
let changes: boolean[] = [];

interface Options {
  recycle?: RecycleLimits;
  childCount?: number;
  /** The GPU of each child; none where left out. */
  gpus?: (string | null)[];
  timing?: ChildTiming;
  clock?: Clock;
  librariesDir?: string;
}

async function start({
  childCount = 1,
  gpus = new Array(childCount).fill(null),
  librariesDir = '',
  ...options
}: Options = {}): Promise<void> {
  deaths = 0;
  recycled = 0;
  changes = [];
  lost = [];
  for (const what of ['hangs', 'fragile', 'deadly', 'unlucky']) rmSync(noteOf(what), { force: true });
  children = await startBackendChildren({
    child: new URL('../../.build/test/support/fake-child.js', import.meta.url),
    options: { backend: 'cpu', librariesDir, logLevel: 'silent' },
    environment: {},
    clock: systemClock,
    log: createLogger('test', 'silent'),
    ...options,
    gpusOf: () => gpus,
    listener: {
      onChange: () => changes.push(children?.standsStill()),
      onDeath: () => deaths++,
      onRecycle: () => recycled++,
      onVersionLost: ({ name }) => lost.push(name),
    },
  });
  runner = createBatchRunner(children);
  await load('m');
}

const load = (name: string) => children.load('', { name, version: 1 } as Manifest);

/** Left by the first child of this process. */
const noteOf = (what: string) => join(tmpdir(), `sluice-fake-child-of-${process.pid}-${what}`);

const pids = () => children.states().map(({ pid }) => pid);

function instance(value: number): Instance {
  return { x: { dtype: 'float32', shape: [], data: toBytes(new Float32Array([value])) } };
}

/** Each result as the number computed or the code of its error. */
function shown(results: InstanceResult[]): (number | string | undefined)[] {
  return results.map((result) =>
    result.ok ? toTypedArray('float32', result.outputs.y?.data as Uint8Array)[0] : result.code,
  );
}

/** `timeoutMs`: of each, or of all. */
async function run(values: number[], timeoutMs: number | number[] = 30_000, model = 'm') {
  const { results } = await runner.run({
    model,
    version: 1,
    instances: values.map(instance),
    timeoutsMs: values.map((_, i) => (Array.isArray(timeoutMs) ? (timeoutMs[i] as number) : timeoutMs)),
  });
  return shown(results);
}

/** 0, 1, 2, … with some places taken by something worse. */
function batchOf(size: number, bad: Record<number, number>): number[] {
  return Array.from({ length: size }, (_, i) => bad[i] ?? i);
}

function doubled(size: number, bad: Record<number, string>): (number | string)[] {
  return Array.from({ length: size }, (_, i) => bad[i] ?? 2 * i);
}

describe("a batch runner on a backend's children", () => {
  afterEach(async () => {
    await children.close();
    expect(new Set(pids()), 'a child is left').toEqual(new Set([null]));
  });

  it('tells the least size for which the memory did not suffice, and runs all the same', async () => {
    await start();
    const values = batchOf(13, { 1: NEEDS_MEMORY });
    const ran = await runner.run({
      model: 'm',
      version: 1,
      instances: values.map(instance),
      timeoutsMs: values.map(() => 30_000),
    });
    expect(shown(ran.results)).toEqual(values.map((value) => 2 * value));
    // 13, 7, 4 and then 2
    expect(ran.outOfMemoryAt).toBe(4);
    expect(deaths).toBe(0);
  });

  it('does not take one that is too large by itself for a limit of size', async () => {
    await start();
    const values = batchOf(8, { 3: TOO_LARGE });
    const ran = await runner.run({
      model: 'm',
      version: 1,
      instances: values.map(instance),
      timeoutsMs: values.map(() => 30_000),
    });
    expect(shown(ran.results)).toEqual(doubled(8, { 3: 'backend_error' }));
    expect(ran.outOfMemoryAt).toBeNull();
  });

  it('adds no padding rows to a retry', async () => {
    await start();
    expect(await run([1, NEEDS_ROOM, 3])).toEqual([2, 2 * NEEDS_ROOM, 6]);
    expect(deaths).toBe(0);
  });

  it('gives every instance its result in its place', async () => {
    await start();
    expect(await run(batchOf(32, {}))).toEqual(doubled(32, {}));
  });

  it('replaces a child that has served its time, and loses nothing that is under way', async () => {
    await start({ recycle: { maxBatches: 5, maxRssBytes: 0 } });
    const first = pids()[0];
    const runs = Array.from({ length: 33 }, (_, i) => run(i % 7 === 3 ? [i, IS_LATE] : [i, i + 1]));
    for (const [i, result] of (await Promise.all(runs)).entries())
      expect(result).toEqual([2 * i, i % 7 === 3 ? 2 * IS_LATE : 2 * i + 2]);
    expect(recycled).toBeGreaterThan(0);
    // One after the other, so that each child gets just what it may have.
    for (let i = 0; i < 20; i++) expect(await run([i])).toEqual([2 * i]);
    expect(recycled).toBeGreaterThanOrEqual(4);
    expect(deaths).toBe(0);
    expect(pids()[0]).not.toBe(first);
  });

  it('bisects a batch that kills the child while it is to be replaced', async () => {
    await start({ recycle: { maxBatches: 1, maxRssBytes: 0 } });
    const bad = { 3: ABORTS };
    const [good, mixed] = await Promise.all([run([1]), run(batchOf(8, bad))]);
    expect(good).toEqual([2]);
    expect(mixed).toEqual(doubled(8, { 3: 'input_crashed_backend' }));
    expect(await run([4])).toEqual([8]);
  });

  it('fails an instance that the backend throws on, alone and without a death', async () => {
    await start();
    expect(await run(batchOf(32, { 5: THROWS }))).toEqual(doubled(32, { 5: 'backend_error' }));
    expect(deaths).toBe(0);
  });

  it('fails an instance that crashes the child, alone, within ceil(log2 32) + 1 deaths', async () => {
    await start();
    expect(await run(batchOf(32, { 20: ABORTS }))).toEqual(doubled(32, { 20: 'input_crashed_backend' }));
    expect(deaths).toBeLessThanOrEqual(6);
  });

  it('finds two that crash among 32', async () => {
    await start();
    const bad = { 3: 'input_crashed_backend', 17: 'input_crashed_backend' };
    expect(await run(batchOf(32, { 3: ABORTS, 17: ABORTS }))).toEqual(doubled(32, bad));
  });

  it('fails an instance that hangs, alone, when its time is up', async () => {
    await start();
    expect(await run(batchOf(4, { 2: HANGS }), 200)).toEqual(doubled(4, { 2: 'timeout' }));
  });

  it('passes on what failed for one instance only', async () => {
    await start();
    expect(await run(batchOf(4, { 1: NOT_A_NUMBER }))).toEqual(doubled(4, { 1: 'non_finite_output' }));
  });

  it('blames what the child had turned to, not an older call that is not answered yet', async () => {
    await start();
    const both = [run([IS_LATE]), run([ABORTS])];
    expect(await Promise.all(both)).toEqual([[2 * IS_LATE], ['input_crashed_backend']]);
    // Alone from the start, so it was tried twice; the other had no part in either death.
    expect(deaths).toBe(2);
  });

  it('times out what the child has turned to, not an older call that is not answered yet', async () => {
    await start();
    const both = [run([IS_LATE], 10_000), run([HANGS], 400)];
    expect(await Promise.all(both)).toEqual([[2 * IS_LATE], ['timeout']]);
  });

  it('runs a lone instance again when its child was killed by somebody else, and what waited behind it', async () => {
    await start();
    const note = noteOf('hangs');
    const first = run([HANGS_ONCE]);
    const second = run([4]);
    await expect.poll(() => existsSync(note), { timeout: 10_000 }).toBe(true);
    process.kill(pids()[0] as number, 'SIGKILL');
    expect(await first).toEqual([-10]);
    expect(await second).toEqual([8]);
    expect(deaths).toBe(1);
  });

  it('loads the versions again into a new child', async () => {
    await start();
    process.kill(pids()[0] as number, 'SIGKILL');
    await expect.poll(() => deaths, { timeout: 10_000 }).toBe(1);
    expect(await run([1])).toEqual([2]);
  });

  it('refuses a version whose loading does not end, and goes on', async () => {
    await start({ timing: { loadTimeoutMs: 300 } });
    await expect(load('endless')).rejects.toThrow('took too long');
    expect(await run([1, 2])).toEqual([2, 4]);
    expect(deaths).toBe(1);
  });

  it('loses a version that a new child refuses, and goes on with the others', async () => {
    await start();
    await load('fragile');
    expect(await run([1], 30_000, 'fragile')).toEqual([2]);
    process.kill(pids()[0] as number, 'SIGKILL');
    await expect(run([1], 30_000, 'fragile')).rejects.toThrow(NotLoaded);
    expect(lost).toEqual(['fragile']);
    expect(await run([2])).toEqual([4]);
    expect(deaths).toBe(1);
  });

  it('loses a version that new children die of, and goes on with the others', async () => {
    await start();
    await load('deadly');
    const waiting = [run([HANGS_ONCE]), run([1])];
    await expect.poll(() => existsSync(noteOf('hangs')), { timeout: 10_000 }).toBe(true);
    process.kill(pids()[0] as number, 'SIGKILL');
    expect(await Promise.all(waiting)).toEqual([[2 * HANGS_ONCE], [2]]);
    expect(lost).toEqual(['deadly']);
    expect(children.fault()).toBeNull();
    await expect(run([1], 30_000, 'deadly')).rejects.toThrow(NotLoaded);
  });

  it('loads a version all the same when the child dies of something else meanwhile', async () => {
    await start();
    const [crashed] = await Promise.all([
      run([ABORTS]),
      load('other'),
      children.measure({ name: 'm', version: 1 } as Manifest, { batchSize: 4, budgetMs: 10, leastRuns: 3 }),
    ]);
    expect(crashed).toEqual(['input_crashed_backend']);
    expect(await run([1], 30_000, 'other')).toEqual([2]);
    expect(lost).toEqual([]);
  });

  it.each([1, 2])(
    'loads a version all the same when one of %i children dies of it once',
    async (childCount) => {
      await start({ childCount });
      await load('unlucky');
      expect(await run([1], 30_000, 'unlucky')).toEqual([2]);
      expect(deaths).toBe(1);
    },
  );

  it('lets a batch go on that is in time for some of its instances', async () => {
    await start();
    expect(await run([IS_LATE, 1], [20, 30_000])).toEqual([2 * IS_LATE, 2]);
    expect(deaths).toBe(0);
  });

  it('replaces a child that throws on everything, and none for what is bad input', async () => {
    await start();
    for (let i = 0; i < 40; i++) expect(await run([THROWS])).toEqual(['backend_error']);
    expect(await run([1])).toEqual([2]);
    expect(recycled).toBe(0);
    expect(await run([SICKENS])).toEqual(['backend_error']);
    await expect.poll(() => run([1]), { timeout: 20_000, interval: 5 }).toEqual([2]);
    expect(recycled).toBe(1);
    expect(deaths).toBe(0);
  });

  it('refuses runs once it is closed', async () => {
    await start();
    await children.close();
    await expect(run([1])).rejects.toThrow('closed');
  });

  it('shows each child the GPU that it is given, and no other', async () => {
    await start({ gpus: ['1', 'GPU-6ad1', null] });
    expect(children.states().map(({ device }) => device)).toEqual(['gpu:1', 'gpu:GPU-6ad1', 'cpu']);
    const shown = pids().map((pid) =>
      readFileSync(`/proc/${pid}/environ`, 'utf8')
        .split('\0')
        .filter((line) => line.startsWith('CUDA_')),
    );
    const order = 'CUDA_DEVICE_ORDER=PCI_BUS_ID';
    expect(shown.map((lines) => lines.sort())).toEqual([
      [order, 'CUDA_VISIBLE_DEVICES=1'],
      [order, 'CUDA_VISIBLE_DEVICES=GPU-6ad1'],
      [],
    ]);
  });

  it('gives a batch to the child that is free', async () => {
    await start({ childCount: 2 });
    let hangs = true;
    const hung = run([HANGS], 1000).finally(() => {
      hangs = false;
    });
    for (let i = 0; i < 8; i++) expect(await run([i])).toEqual([2 * i]);
    expect(hangs, 'none waited behind the first').toBe(true);
    expect(await hung).toEqual(['timeout']);
  });

  it('runs what a child had that was killed on the other, at once', async () => {
    await start({ childCount: 2 });
    const before = pids();
    expect(new Set(before).size).toBe(2);
    process.kill(before[0] as number, 'SIGSTOP');
    const runs = Array.from({ length: 10 }, (_, i) => run([i, i + 1]));
    process.kill(before[0] as number, 'SIGKILL');
    for (const [i, result] of (await Promise.all(runs)).entries()) expect(result).toEqual([2 * i, 2 * i + 2]);
    expect(deaths).toBe(1);
    await expect.poll(() => pids()[0], { timeout: 10_000 }).not.toBe(before[0]);
    expect(pids()[1], 'the other went on').toBe(before[1]);
  });

  it('finds what crashes within ceil(log2 32) + 1 deaths of two children, beside others', async () => {
    await start({ childCount: 2 });
    const [bad, ...good] = await Promise.all([
      run(batchOf(32, { 20: ABORTS })),
      ...Array.from({ length: 20 }, (_, i) => run([i])),
    ]);
    expect(bad).toEqual(doubled(32, { 20: 'input_crashed_backend' }));
    expect(good).toEqual(good.map((_, i) => [2 * i]));
    expect(deaths).toBeLessThanOrEqual(6);
  });

  it('replaces children that have served their time one at a time', async () => {
    await start({ childCount: 2, recycle: { maxBatches: 5, maxRssBytes: 0 } });
    const before = pids();
    const first = () => pids().filter((pid) => before.includes(pid)).length;
    for (let left = 2, untilMs = performance.now() + 20_000; left > 0 && performance.now() < untilMs; ) {
      const results = await Promise.all(Array.from({ length: 4 }, (_, i) => run([i])));
      expect(results).toEqual([[0], [2], [4], [6]]);
      expect(left - first(), 'both at once').toBeLessThan(2);
      left = first();
    }
    expect(deaths).toBe(0);
    expect(recycled).toBeGreaterThanOrEqual(2);
    expect(first()).toBe(0);
  });

  it('starts none at once any more where they die again and again, tells so, and goes on with the other', async () => {
    await start({ childCount: 2 });
    let last: number | null = null;
    for (let kill = 1; kill <= MAX_DEATHS + 1; kill++) {
      expect(children.fault()).toBeNull();
      await expect.poll(() => ![null, last].includes(pids()[0] ?? null), { timeout: 10_000 }).toBe(true);
      last = pids()[0] ?? null;
      process.kill(last as number, 'SIGKILL');
    }
    await expect.poll(() => children.fault(), { timeout: 10_000 }).toContain('dies again and again (cpu)');
    expect(pids()).toEqual([null, expect.any(Number)]);
    expect(await run([1, ABORTS, 3])).toEqual([2, 'input_crashed_backend', 6]);
    expect(pids()[0]).toBeNull();
  });

  it('refuses what nobody is left to compute, tells so, and computes again later', async () => {
    await start({ clock: IMPATIENT });
    let last: number | null = null;
    const killNext = async () => {
      await expect
        .poll(() => ![null, last].includes(pids()[0] ?? null), { timeout: 10_000, interval: 5 })
        .toBe(true);
      last = pids()[0] ?? null;
      process.kill(last as number, 'SIGKILL');
    };
    await killNext();
    const waiting = run([1, 2]).catch((error: unknown) => error);
    for (let kill = 1; kill <= MAX_DEATHS; kill++) await killNext();
    expect(await waiting).toBeInstanceOf(StandsStill);
    expect(children.standsStill()).toBe(true);
    expect(changes.at(-1)).toBe(true);
    await expect(run([3])).rejects.toThrow(StandsStill);
    await expect.poll(() => children.standsStill(), { timeout: 20_000 }).toBe(false);
    expect(changes.at(-1)).toBe(false);
    expect(await run([4])).toEqual([8]);
  });

  it('takes the deaths by one batch for no crash loop', async () => {
    await start();
    const bad = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [i, ABORTS]));
    const codes = await run(batchOf(8, bad));
    expect(new Set(codes)).toEqual(new Set(['input_crashed_backend']));
    expect(deaths).toBeGreaterThan(MAX_DEATHS);
    expect(children.fault()).toBeNull();
  });

  it('gives up a child that is not up in time', async () => {
    const startedMs = performance.now();
    await expect(start({ librariesDir: 'never', timing: { upTimeoutMs: 1000 } })).rejects.toThrow(
      'The child is not up after 1 s.',
    );
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(1000);
  });

  it('replaces a child that stands still while it has nothing to do', async () => {
    await start({ timing: { heartbeat: { periodMs: 100, limitMs: 400 } } });
    expect(await run([1])).toEqual([2]);
    const stopped = pids()[0] as number;
    process.kill(stopped, 'SIGSTOP');
    const stoppedMs = performance.now();
    await expect.poll(() => deaths, { timeout: 10_000, interval: 10 }).toBe(1);
    const tookMs = performance.now() - stoppedMs;
    expect(tookMs).toBeGreaterThanOrEqual(400);
    expect(tookMs).toBeLessThan(100 + 400 + SLACK_MS);
    expect(await run([2])).toEqual([4]);
    expect(pids()).not.toContain(stopped);
  });

  it('pings no child that computes, because its call has a limit of its own', async () => {
    await start({ timing: { heartbeat: { periodMs: 20, limitMs: 50 } } });
    const startedMs = performance.now();
    expect(await run([HANGS], 1000)).toEqual(['timeout']);
    // Alone from the start, so it was tried twice.
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(2000);
    expect(deaths).toBe(2);
  });
});

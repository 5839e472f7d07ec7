import { describe, expect, it } from 'vitest';
import { type Batch, createBatcher, type Task } from '../../worker/inference/batching/batcher.js';
import { createManualClock } from '../support/manual-clock.js';

const POLICY = { maxBatchSize: 4, maxDelayMs: 10, maxInFlight: 2 };

/** A batcher over a backend that echoes, and that the test tells when to finish. */
function setUp(options: { maxEnqueued?: number; children?: number } = {}) {
  const clock = createManualClock();
  const running: { batch: Batch<string>; finish: () => void; fail: (error: Error) => void }[] = [];
  const started: string[][] = [];
  const batcher = createBatcher<string, string>({
    clock,
    ...options,
    maxEnqueued: options.maxEnqueued ?? 100,
    run: (batch) =>
      new Promise((resolve, reject) => {
        started.push(batch.instances);
        running.push({
          batch,
          finish: () =>
            resolve({ results: batch.instances.map((instance) => instance.toUpperCase()), computeMs: 1 }),
          fail: reject,
        });
      }),
  });
  const submit = (name: string, more: Partial<Task<string>> = {}) =>
    batcher.submit({ kind: 'm@1', policy: POLICY, instances: [name], bytes: 1, timeoutMs: 1000, ...more });
  return { clock, batcher, running, started, submit };
}

describe('a batcher', () => {
  it('runs a lone task at once while a child is idle', async () => {
    const { clock, running, submit } = setUp();
    const result = submit('a');
    await clock.advance(0);
    expect(running).toHaveLength(1);
    running[0]?.finish();
    expect(await result).toEqual({ results: ['A'], waitMs: 0, computeMs: 1, batchSize: 1 });
  });

  it('lets tasks that arrive in the same turn meet', async () => {
    const { clock, started, submit } = setUp();
    for (const name of ['a', 'b', 'c']) void submit(name);
    await clock.advance(0);
    expect(started).toEqual([['a', 'b', 'c']]);
  });

  it('closes a batch when the next task would not fit, counting bytes', async () => {
    const { clock, started, running, submit } = setUp();
    const policy = { ...POLICY, maxBatchBytes: 10 };
    void submit('x');
    await clock.advance(0);
    for (const [name, bytes] of [
      ['a', 6],
      ['b', 4],
      ['c', 3],
      ['d', 8],
      ['large', 50],
      ['e', 1],
    ] as const)
      void submit(name, { policy, bytes });
    await clock.advance(0);
    for (let i = 0; i < 5; i++) {
      running[i]?.finish();
      await clock.advance(policy.maxDelayMs);
    }
    expect(started.slice(1)).toEqual([['a', 'b'], ['c'], ['d'], ['large'], ['e']]);
  });

  it('runs background tasks only while nothing else is there', async () => {
    const { clock, started, running, submit } = setUp();
    const background = { kind: 'm@2|shadow|', isBackground: true };
    void submit('x');
    await clock.advance(0);
    for (const name of ['b1', 'b2', 'b3', 'b4']) void submit(name, background);
    void submit('b5', background);
    await clock.advance(100);
    expect(started).toEqual([['x']]);
    void submit('y');
    await clock.advance(100);
    expect(started).toEqual([['x'], ['y']]);
    running[0]?.finish();
    await clock.advance(100);
    expect(started).toEqual([['x'], ['y']]);
    running[1]?.finish();
    await clock.advance(0);
    // Alone, and nothing of the background waits ready behind it.
    expect(started.slice(2)).toEqual([['b1', 'b2', 'b3', 'b4']]);
    void submit('z');
    await clock.advance(100);
    expect(started.slice(3)).toEqual([['z']]);
    running[2]?.finish();
    running[3]?.finish();
    await clock.advance(0);
    expect(started.slice(4)).toEqual([['b5']]);
  });

  it('hands over the most urgent batch first, and lets none be overtaken for longer than a second', async () => {
    const { clock, started, running, submit } = setUp();
    const full = (name: string, rank: number) => {
      for (let i = 0; i < 4; i++) void submit(`${name}${i}`, { kind: name, rank: i === 3 ? rank : 2 });
    };
    for (const name of ['x', 'y']) full(name, 0);
    await clock.advance(0);
    expect(started).toHaveLength(2);
    full('bulk', 2);
    await clock.advance(900);
    for (const [name, rank] of [
      ['standard', 1],
      ['urgent', 0],
      ['late', 0],
    ] as const)
      full(name, rank);
    const next = async (nth: number) => {
      running[nth]?.finish();
      await clock.advance(0);
      return started.at(-1)?.[0];
    };
    expect(await next(0)).toBe('urgent0');
    await clock.advance(100);
    expect(await next(1)).toBe('bulk0');
    expect([await next(2), await next(3)]).toEqual(['late0', 'standard0']);
  });

  it('closes the most urgent batch that forms for a child that is idle', async () => {
    const { clock, started, submit } = setUp();
    void submit('b', { kind: 'bulk', rank: 2 });
    void submit('u', { kind: 'urgent', rank: 0 });
    await clock.advance(0);
    expect(started).toEqual([['u']]);
  });

  it('tells the policy of the first task what ran', async () => {
    const { clock, running, submit } = setUp();
    const told: unknown[] = [];
    const policy = { ...POLICY, onRan: (ran: unknown) => void told.push(ran) };
    const results = Promise.all([submit('a', { policy }), submit('b')]);
    await clock.advance(0);
    running[0]?.finish();
    await results;
    expect(told).toEqual([{ size: 2, computeMs: 1, outOfMemoryAt: null }]);
  });

  it('closes a batch when the next task would not fit, counting instances', async () => {
    const { clock, started, running, submit } = setUp();
    void submit('x');
    await clock.advance(0);
    void submit('a', { instances: ['a1', 'a2', 'a3'] });
    void submit('b', { instances: ['b1', 'b2'] });
    await clock.advance(0);
    expect(started.slice(1)).toEqual([['a1', 'a2', 'a3']]);
    running[0]?.finish();
    running[1]?.finish();
    await clock.advance(0);
    expect(started[2]).toEqual(['b1', 'b2']);
  });

  it('hands a full batch over while another runs, and no third', async () => {
    const { clock, started, submit } = setUp();
    void submit('x');
    await clock.advance(0);
    for (const name of 'abcdefgh') void submit(name);
    await clock.advance(0);
    expect(started).toEqual([['x'], ['a', 'b', 'c', 'd']]);
  });

  it('hands over as many batches as the policy of the next one allows', async () => {
    const { clock, started, running, submit } = setUp();
    const policy = { ...POLICY, maxBatchSize: 1, maxInFlight: 4 };
    for (const name of 'abcdef') void submit(name, { kind: 'pictures@1', policy });
    void submit('t', { policy: { ...POLICY, maxBatchSize: 1 } });
    await clock.advance(0);
    expect(started.flat()).toEqual(['a', 'b', 'c', 'd']);
    for (const { finish } of running.splice(0, 4)) finish();
    await clock.advance(0);
    expect(started.flat().slice(4), 'one of two behind two').toEqual(['e', 'f']);
    running[0]?.finish();
    await clock.advance(0);
    expect(started.flat().slice(6)).toEqual(['t']);
  });

  it('hands over at once while one of several children is idle, then as many batches for each', async () => {
    const { clock, started, submit } = setUp({ children: 3 });
    for (const name of 'xyz') {
      void submit(name);
      await clock.advance(0);
    }
    expect(started).toEqual([['x'], ['y'], ['z']]);
    for (let i = 0; i < 20; i++) void submit(`${i}`);
    await clock.advance(0);
    expect(started.slice(3).map((batch) => batch.length)).toEqual([4, 4, 4]);
  });

  it('runs background tasks beside nothing, however many children are idle', async () => {
    const { clock, started, running, submit } = setUp({ children: 2 });
    void submit('x');
    await clock.advance(0);
    void submit('b', { kind: 'm@2|shadow|', isBackground: true });
    await clock.advance(100);
    expect(started).toEqual([['x']]);
    running[0]?.finish();
    await clock.advance(0);
    void submit('y');
    await clock.advance(0);
    expect(started.slice(1)).toEqual([['b'], ['y']]);
  });

  it('hands a batch over when its oldest task is maxDelayMs old, although the child is busy', async () => {
    const { clock, started, submit } = setUp();
    void submit('x');
    await clock.advance(0);
    void submit('a');
    await clock.advance(6);
    void submit('b');
    await clock.advance(3);
    expect(started).toHaveLength(1);
    await clock.advance(1);
    expect(started[1]).toEqual(['a', 'b']);
  });

  it('never mixes kinds, and serves the oldest batch first', async () => {
    const { clock, started, running, submit } = setUp();
    void submit('x');
    await clock.advance(0);
    void submit('a', { kind: 'm@1' });
    void submit('b', { kind: 'm@2' });
    running[0]?.finish();
    await clock.advance(0);
    running[1]?.finish();
    await clock.advance(0);
    expect(started.slice(1)).toEqual([['a'], ['b']]);
  });

  it('drops a task whose signal aborts before its batch is handed over', async () => {
    const { clock, batcher, started, running, submit } = setUp();
    void submit('x');
    await clock.advance(0);
    const gone = new AbortController();
    const dropped = submit('a', { signal: gone.signal });
    void submit('b');
    gone.abort(new Error('canceled'));
    await expect(dropped).rejects.toThrow('canceled');
    expect(batcher.enqueued).toBe(1);
    running[0]?.finish();
    await clock.advance(0);
    expect(started[1]).toEqual(['b']);
  });

  it('does not run a batch that all its tasks have left', async () => {
    const { clock, batcher, started, running, submit } = setUp();
    void submit('x');
    await clock.advance(0);
    const gone = new AbortController();
    submit('a', { signal: gone.signal }).catch(() => {});
    gone.abort(new Error('canceled'));
    running[0]?.finish();
    await clock.advance(50);
    expect(started).toEqual([['x']]);
    expect(batcher.enqueued).toBe(0);
  });

  it('refuses more than it may hold', async () => {
    const { clock, submit } = setUp({ maxEnqueued: 2 });
    void submit('a');
    void submit('b');
    await expect(submit('c')).rejects.toThrow('full');
    await clock.advance(0);
    void submit('d');
    await clock.advance(0);
  });

  it('fails the tasks of a failed run and goes on with the next', async () => {
    const { clock, running, submit } = setUp();
    const failed = submit('a');
    await clock.advance(0);
    const next = submit('b');
    running[0]?.fail(new Error('closed'));
    await expect(failed).rejects.toThrow('closed');
    await clock.advance(0);
    running[1]?.finish();
    expect((await next).results).toEqual(['B']);
  });

  it("gives a batch the longest of its tasks' time", async () => {
    const { clock, running, submit } = setUp();
    void submit('a', { timeoutMs: 5 });
    void submit('b', { timeoutMs: 70 });
    await clock.advance(0);
    expect(running[0]?.batch.timeoutsMs).toEqual([5, 70]);
  });
});

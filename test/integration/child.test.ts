/** The real child process, driven by hand over its channel as its supervisor drives it. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { toTypedArray } from '../../shared/contract/tensors/dtypes.js';
import { openSharp } from '../../shared/images/image.js';
import type { ChildOptions, FromChild, ToChild } from '../../worker/inference/protocol/messages.js';
import { denseByHand, floats, writeDense, writeDouble } from '../support/tiny-models.js';

const ENTRY = fileURLToPath(new URL('../../dist/worker/inference/child/main.js', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'sluice-child-'));
const tiny = writeDense(root);
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function start(options: Partial<ChildOptions> = {}) {
  const child = fork(
    ENTRY,
    [JSON.stringify({ backend: 'cpu', librariesDir: root, logLevel: 'info', ...options })],
    { serialization: 'advanced', stdio: ['ignore', 'pipe', 'inherit', 'ipc'] },
  );
  children.push(child);
  const waiting: ((message: FromChild) => void)[] = [];
  const arrived: FromChild[] = [];
  child.on('message', (message) => {
    const next = waiting.shift();
    if (next) next(message as FromChild);
    else arrived.push(message as FromChild);
  });
  let stdout = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  const drained = new Promise((resolve) => child.stdout?.once('end', resolve));
  const exited = new Promise<number | string | null>((resolve) =>
    child.once('exit', (code, signal) => void drained.then(() => resolve(signal ?? code))),
  );
  return {
    child,
    exited,
    stdout: () => stdout,
    next: () =>
      new Promise<FromChild>((resolve) => {
        const message = arrived.shift();
        if (message) resolve(message);
        else waiting.push(resolve);
      }),
    send: (message: ToChild) => child.send(message),
  };
}

const load: ToChild = {
  type: 'load',
  call: 1,
  folder: tiny.folder,
  manifest: tiny.manifest,
  found: null,
};
const runOf = (call: number, ...rows: number[][]): ToChild => ({
  type: 'run',
  call,
  model: 'dense',
  version: 1,
  instances: rows.map((row) => floats('x', row)),
  exact: false,
});

describe('the child', () => {
  it('comes up, loads, runs in order, survives a failed call and ends when its parent lets go', async () => {
    const { child, exited, next, send, stdout } = start();
    expect(await next()).toEqual({ type: 'up', report: { name: 'cpu', device: 'cpu', refused: [] } });

    send(load);
    send(runOf(2, [1, 2, 3], [4, 5, 6]));
    send({ ...runOf(3, [1, 2, 3]), model: 'nobody' } as ToChild);
    send(runOf(4, [1, 2, 3, 4]));
    send(runOf(5, [0, 0, 0]));
    expect(await next()).toMatchObject({ type: 'loaded', call: 1, report: { goldenDifference: null } });
    const ran = await next();
    if (ran.type !== 'ran') throw new Error(ran.type);
    expect(ran.call).toBe(2);
    expect(ran.computeMs).toBeGreaterThan(0);
    const rows = ran.results.map((result) =>
      result.ok ? Array.from(toTypedArray('float32', result.outputs.y?.data ?? new Uint8Array())) : null,
    );
    expect(rows).toEqual([denseByHand([1, 2, 3]), denseByHand([4, 5, 6])]);
    expect(await next()).toEqual({ type: 'failed', call: 3, message: 'nobody@1 is not loaded' });
    expect(await next()).toMatchObject({ type: 'failed', call: 4 });
    expect(await next()).toMatchObject({ type: 'ran', call: 5 });

    child.disconnect();
    expect(await exited).toBe(0);
    expect(() => process.kill(child.pid as number, 0)).toThrow(/ESRCH/);
    // Its log alone, one JSON object a line.
    const lines = stdout().trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
      'call failed',
      'call failed',
    ]);
  });

  it('tells for auto what serves and why not what comes before', async () => {
    const { next } = start({ backend: 'auto' });
    const up = await next();
    expect(up).toMatchObject({ type: 'up', report: { name: 'wasm', refused: [{ name: 'cuda' }] } });
  });

  it('tells its parent when the backend cannot load, and ends', async () => {
    const { exited, next } = start({ backend: 'native', librariesDir: join(root, 'empty-cache') });
    expect(await next()).toMatchObject({
      type: 'refused',
      reason: expect.stringMatching(/^native cannot serve: .*npm run backend:install -- cpu/),
    });
    expect(await exited).toBe(1);
  });

  it.each([
    ['turns to the next while pictures of the last are encoded', false],
    ['does nothing beside a call that is exact', true],
  ])('%s', async (_, exact) => {
    const double = writeDouble(root);
    const { next, send } = start();
    await next();
    send({ ...load, folder: double.folder, manifest: double.manifest } as ToChild);
    expect(await next()).toMatchObject({ type: 'loaded' });
    const picture = await openSharp(Buffer.alloc(96 * 96 * 3, 77), {
      raw: { width: 96, height: 96, channels: 3 },
    });
    const small = { dtype: 'image' as const, shape: [96, 96, 3], data: await picture.png().toBuffer() };
    const calls = [2, 3, 4, 5, 6, 7];
    for (const call of calls)
      send({ ...runOf(call), model: 'double', instances: [{ small }], exact } as ToChild);
    const heard: FromChild[] = [];
    while (heard.filter(({ type }) => type === 'ran').length < calls.length) heard.push(await next());
    expect(heard.flatMap((each) => (each.type === 'ran' ? each.call : []))).toEqual(calls);
    const early = heard.filter(({ type }) => type === 'computing').length;
    if (exact) expect(early).toBe(0);
    else expect(early).toBeGreaterThan(0);
  });

  it('leaves the signals of a terminal to its parent', async () => {
    const { child, exited, next, send } = start();
    await next();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) child.kill(signal);
    send(load);
    expect(await next()).toMatchObject({ type: 'loaded', call: 1 });
    child.disconnect();
    expect(await exited).toBe(0);
  });
});

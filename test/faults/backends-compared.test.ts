/**
 * Backends are compared in the background: while a heavy version is timed on a backend that takes minutes for a row, other
 * versions are loaded and jobs are computed as on an idle worker.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.js';
import { type TinyModel, writeConvolutions, writeDense } from '../support/tiny-models.js';
import { uploadVersion } from '../support/uploads.js';

const BOUND = { timeout: 60_000, interval: 20 };
const READY_MS = 3000;
const SIZE = 96;

const folder = mkdtempSync(join(tmpdir(), 'sluice-comparisons-'));
let stack: Stack;
/** A Sluice beside it that compares nothing, and shares the load of the machine. */
let idle: Stack;
beforeAll(async () => {
  const start = (backend: string) =>
    startStack(inject('redisUrl'), { SLUICE_BACKEND: backend, SLUICE_CACHE_DIR: join(folder, backend) });
  [stack, idle] = await Promise.all([start('auto'), start('wasm')]);
  await Promise.all([stack.ready(), idle.ready()]);
});
afterAll(async () => {
  await Promise.all([stack.close(), idle.close()]);
  rmSync(folder, { recursive: true, force: true });
});

const viewOf = async (name: string, on = stack) =>
  (await on.request('GET', `/v1/models/${name}/versions/1`)).body;
const comparisonOf = async (name: string) => (await viewOf(name)).metrics?.comparison ?? null;

/** Uploads a version and resolves with how long it took until that was ready, in milliseconds. */
async function timeToReady(name: string, model: TinyModel, on = stack): Promise<number> {
  const startedMs = performance.now();
  expect((await uploadVersion(on, name, model)).status).toBe(202);
  await expect.poll(async () => (await viewOf(name, on)).state, BOUND).toBe('ready');
  return performance.now() - startedMs;
}

/** Uploads a small version here and to the idle Sluice, and expects that it is ready here in three seconds, or nearly as soon. */
async function expectReadySoon(name: string): Promise<void> {
  const times = [timeToReady(name, writeDense(folder)), timeToReady(name, writeDense(folder), idle)];
  const [readyMs = 0, idleMs = 0] = await Promise.all(times);
  expect(readyMs, name).toBeLessThan(Math.max(READY_MS, 2 * idleMs));
}

it('neither keeps versions from being loaded nor jobs from being computed', async () => {
  await expect.poll(() => comparisonOf('mnist'), BOUND).toMatchObject({ cpu: expect.any(Array) });
  const heavy = timeToReady('heavy', writeConvolutions(folder, SIZE));
  await expect.poll(async () => (await viewOf('heavy')).state, BOUND).toBe('loading');
  await expectReadySoon('small-first');
  expect(await viewOf('heavy'), 'the heavy one takes longer').toMatchObject({
    state: 'loading',
    waitingFor: { what: 'checks' },
  });
  await heavy;
  await expectReadySoon('small-beside');
  const instance = Array.from({ length: SIZE }, () => Array.from({ length: SIZE }, () => [0, 0.5, 1]));
  const job = await stack.request('POST', '/v1/jobs?wait=20', { model: 'heavy', instances: [instance] });
  expect(job.body.status).toBe('succeeded');
  expect(await comparisonOf('heavy'), 'all this was done while it was compared').toBeNull();

  await expect.poll(() => comparisonOf('heavy'), BOUND).not.toBeNull();
  expect(await comparisonOf('heavy')).toMatchObject({
    wasm: expect.any(Array),
    cpu: expect.stringMatching(/^not timed: /),
  });
  const kept = readFileSync(join(folder, 'auto/backend-choices.json'), 'utf8');
  expect(kept, 'it is not timed there again').toContain('"heavy@1 ');
  // The version that came meanwhile is compared, too.
  await expect.poll(() => comparisonOf('small-beside'), BOUND).not.toBeNull();
});

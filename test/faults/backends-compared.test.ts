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
beforeAll(async () => {
  const cache = join(folder, 'cache');
  stack = await startStack(inject('redisUrl'), { SLUICE_BACKEND: 'auto', SLUICE_CACHE_DIR: cache });
  await stack.ready();
});
afterAll(async () => {
  await stack.close();
  rmSync(folder, { recursive: true, force: true });
});

const viewOf = async (name: string) => (await stack.request('GET', `/v1/models/${name}/versions/1`)).body;
const comparisonOf = async (name: string) => (await viewOf(name)).metrics?.comparison ?? null;

/** Uploads a version and resolves with how long it took until that was ready, in milliseconds. */
async function timeToReady(name: string, model: TinyModel): Promise<number> {
  const startedMs = performance.now();
  expect((await uploadVersion(stack, name, model)).status).toBe(202);
  await expect.poll(async () => (await viewOf(name)).state, BOUND).toBe('ready');
  return performance.now() - startedMs;
}

it('neither keeps versions from being loaded nor jobs from being computed', async () => {
  await expect.poll(() => comparisonOf('mnist'), BOUND).toMatchObject({ cpu: expect.any(Array) });
  const idleMs = await timeToReady('small-before', writeDense(folder));
  await expect.poll(() => comparisonOf('small-before'), BOUND).not.toBeNull();

  const heavy = timeToReady('heavy', writeConvolutions(folder, SIZE));
  await expect.poll(async () => (await viewOf('heavy')).state, BOUND).toBe('loading');
  const whileLoadedMs = await timeToReady('small-first', writeDense(folder));
  expect(await viewOf('heavy'), 'the heavy one takes longer').toMatchObject({
    state: 'loading',
    waitingFor: { what: 'checks' },
  });
  await heavy;
  const besideMs = await timeToReady('small-beside', writeDense(folder));
  const instance = Array.from({ length: SIZE }, () => Array.from({ length: SIZE }, () => [0, 0.5, 1]));
  const job = await stack.request('POST', '/v1/jobs?wait=20', { model: 'heavy', instances: [instance] });
  expect(job.body.status).toBe('succeeded');
  expect(await comparisonOf('heavy'), 'all this was done while it was compared').toBeNull();
  const boundMs = Math.max(READY_MS, 2 * idleMs);
  expect(whileLoadedMs).toBeLessThan(boundMs);
  expect(besideMs).toBeLessThan(boundMs);

  await expect.poll(() => comparisonOf('heavy'), BOUND).not.toBeNull();
  expect(await comparisonOf('heavy')).toMatchObject({
    wasm: expect.any(Array),
    cpu: expect.stringMatching(/^not timed: /),
  });
  const kept = readFileSync(join(folder, 'cache/backend-choices.json'), 'utf8');
  expect(kept, 'it is not timed there again').toContain('"heavy@1 ');
  // The version that came meanwhile is compared, too.
  await expect.poll(() => comparisonOf('small-beside'), BOUND).not.toBeNull();
});

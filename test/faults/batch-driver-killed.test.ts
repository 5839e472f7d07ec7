/**
 * The process that drives a batch is stopped, killed, or frozen until another has taken the batch.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, inject, it } from 'vitest';
import { createBatchFiles } from '../support/batch-files.js';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';
import { figure } from './figures.js';

const LINES = 6000;
const DRIVER = { SLUICE_ROLES: 'batches', LOG_LEVEL: 'error' };
/** Another worker takes a lost message after at most the time of its lock plus the period in which such are looked for. */
const RESTART_MS = 15_000;
const SLOW_MACHINE_MS = 3000;

const digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((label): number[] => {
  const text = readFileSync(join(ROOT, `deploy/models/mnist/examples/${label}.json`), 'utf8');
  return JSON.parse(text).instances[0];
});
const raw = digits.map((digit) => ({ b64: Buffer.from(new Float32Array(digit).buffer).toString('base64') }));
const lines = Array.from({ length: LINES }, (_, nth) => ({
  customId: String(nth),
  instances: [raw[nth % 10]],
}));
const argmax = (row: number[]) => row.indexOf(Math.max(...row));

let stack: Stack;
afterEach(() => stack?.close());

it('every line has its result once, in its place', async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_ROLES: 'inference,upkeep' });
  const files = createBatchFiles(stack);
  await stack.ready();
  let driver = stack.addWorker(DRIVER);
  const { id } = await files.create(lines);
  const beyond = (done: number) =>
    files.until(id, `${done} lines are done`, RESTART_MS * 2, ({ counts }) => counts.succeeded >= done);

  // A process that is told to stop gives the batch back at once.
  await beyond(500);
  driver.kill('SIGTERM');
  expect(await exited(driver)).toBe(0);
  driver = stack.addWorker(DRIVER);

  await beyond(1500);
  driver.kill('SIGKILL');
  const killedMs = Date.now();
  const { counts } = await files.get(id);
  const frozen = stack.addWorker(DRIVER);
  await beyond(counts.succeeded + 1);
  const seconds = (Date.now() - killedMs) / 1000;
  figure('batch', 'goes on after its driver was killed, seconds', seconds, `${RESTART_MS / 1000}`);
  expect(seconds * 1000).toBeLessThanOrEqual(RESTART_MS + SLOW_MACHINE_MS);

  frozen.kill('SIGSTOP');
  const { counts: then } = await files.get(id);
  stack.addWorker(DRIVER);
  await beyond(Math.min(then.succeeded + 500, LINES));
  frozen.kill('SIGCONT');

  const batch = await files.ended(id);
  expect(batch).toMatchObject({ status: 'completed', errorFile: null });
  expect(batch.counts).toEqual({ total: LINES, succeeded: LINES, failed: 0, canceled: 0, expired: 0 });
  const output = await files.linesOf(batch.outputFile);
  expect(output.map(({ line, customId }) => [line, customId])).toEqual(
    lines.map(({ customId }, nth) => [nth + 1, customId]),
  );
  for (const { customId, predictions } of output)
    expect(argmax(predictions?.[0] ?? [])).toBe(Number(customId) % 10);
  // The jobs of all drivers are gone: none is left, and none waits.
  expect((await stack.request('GET', '/v1/jobs')).body.data).toEqual([]);
});

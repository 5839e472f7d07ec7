/**
 * Faults for real: whatever is killed, each accepted job ends succeeded, once, with its own result.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, inject, it, vi } from 'vitest';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';

const digits = Array.from({ length: 10 }, (_, label) =>
  readFileSync(join(ROOT, `deploy/models/mnist/examples/${label}.json`), 'utf8'),
);
const argmax = (row: number[]) => row.indexOf(Math.max(...row));

// A killed worker's jobs come back after lockDuration + stalledInterval (12 s), on a slow machine somewhat later.
vi.setConfig({ testTimeout: 90_000 });

let stack: Stack;
afterEach(() => stack.close());

/** Submits `count` jobs; `onSubmitted` runs when half of them are in. Returns their ids in order. */
async function submit(count: number, onHalf: () => void = () => {}): Promise<string[]> {
  const ids: string[] = new Array(count);
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) {
      if (i === Math.floor(count / 2)) onHalf();
      const { status, body } = await stack.request('POST', '/v1/jobs', digits[i % 10]);
      expect(status).toBe(202);
      ids[i] = body.id;
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  return ids;
}

async function checkAll(ids: string[]): Promise<string[]> {
  const jobs = await Promise.all(
    ids.map(async (id) => (await stack.request('GET', `/v1/jobs/${id}?wait=60`)).body),
  );
  for (const [i, job] of jobs.entries()) {
    expect(job, `job ${i}`).toMatchObject({ status: 'succeeded', attempts: 1 });
    expect(argmax(job.predictions[0])).toBe(i % 10);
  }
  return jobs.map((job) => JSON.stringify(job));
}

it('two workers share 500 jobs; each job has one result', async () => {
  stack = await startStack(inject('redisUrl'), { LOG_LEVEL: 'debug', SLUICE_ROLES: 'inference' }, 2);
  await stack.ready();
  await expect.poll(() => stack.output().split('worker serves').length - 1, { timeout: 30_000 }).toBe(2);
  const ids = await submit(500);
  const ended = await checkAll(ids);
  const shares = await Promise.all(
    [...stack.output().matchAll(/"port":(\d+),"msg":"metrics on/g)].map(async ([, port]) => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return Number(
        /sluice_jobs_settled_total\{model="mnist",status="succeeded"\} (\d+)/.exec(text)?.[1] ?? 0,
      );
    }),
  );
  expect(
    shares.reduce((sum, share) => sum + share, 0),
    'results settled',
  ).toBe(500);
  expect(shares.filter((share) => share > 0)).toHaveLength(2);
  expect(await checkAll(ids), 'terminal jobs never change').toEqual(ended);
});

it('kill -9 of the worker under 500 jobs loses none', async () => {
  stack = await startStack(inject('redisUrl'), {}, 1);
  await stack.ready();
  const [first] = stack.workers;
  const ids = await submit(500, () => first?.kill('SIGKILL'));
  if (first) await exited(first);
  stack.addWorker();
  await checkAll(ids);
});

it('kill -9 of the computing child under 500 jobs loses none', async () => {
  stack = await startStack(inject('redisUrl'), {}, 1);
  await stack.ready();
  const worker = stack.workers[0]?.pid;
  const ids = await submit(500, () => {
    const child = readFileSync(`/proc/${worker}/task/${worker}/children`, 'utf8').trim().split(' ')[0];
    process.kill(Number(child), 'SIGKILL');
  });
  await checkAll(ids);
  expect(stack.output()).toContain('child died');
});

it('SIGTERM under load ends the worker cleanly and hands nothing over lost', async () => {
  stack = await startStack(inject('redisUrl'), {}, 1);
  await stack.ready();
  const [first] = stack.workers;
  const ids = await submit(200, () => first?.kill('SIGTERM'));
  expect(first && (await exited(first))).toBe(0);
  stack.addWorker();
  await checkAll(ids);
});

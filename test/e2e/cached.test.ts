/** Jobs that ask for the predictions of an equal one: when they get them, and that they are jobs like any other. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { addedKey } from '../support/added-key.js';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';

const exampleOf = (digit: number) =>
  JSON.parse(readFileSync(join(ROOT, `deploy/models/mnist/examples/${digit}.json`), 'utf8'));

let stack: Stack;
let stranger: string;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS: 'mnist' });
  await stack.ready();
  stranger = await addedKey(inject('redisUrl'), stack.prefix, 'other', ['*']);
});
afterAll(() => stack.close());

async function submit(body: object, query = '?wait=20', headers = {}) {
  return (await stack.request('POST', `/v1/jobs${query}`, body, headers)).body;
}

describe('a job with cacheSeconds', () => {
  it('is computed the first time, and answered from then on', async () => {
    const body = { ...exampleOf(7), cacheSeconds: 600 };
    const first = await submit(body);
    expect(first).toMatchObject({ status: 'succeeded', cached: false });
    const again = await submit(body);
    expect(again).toMatchObject({
      status: 'succeeded',
      cached: true,
      startedAt: null,
      timings: null,
      error: null,
    });
    expect(again.id).not.toBe(first.id);
    expect(again.predictions).toEqual(first.predictions);
    expect(again.usage).toEqual({ instances: 1, computeMs: 0 });
    // Without waiting, too; and the record says so later.
    const { id, cached } = await submit(body, '');
    expect(cached).toBe(true);
    const kept = (await stack.request('GET', `/v1/jobs/${id}`)).body;
    expect(kept).toMatchObject({ status: 'succeeded', cached: true, predictions: first.predictions });
    const events = await fetch(`${stack.url}/v1/jobs/${id}/events`, {
      headers: { authorization: `Bearer ${stack.key}` },
    });
    expect(await events.text()).toMatch(/event: done/);
    const [queue] = (await stack.request('GET', '/v1/queues')).body.data;
    expect(queue.versions[0].queued).toBe(0);
  });

  it('takes nothing from one that is not equal', async () => {
    const body = { ...exampleOf(3), cacheSeconds: 600 };
    const first = await submit(body);
    expect((await submit(body)).cached).toBe(true);
    const others = await Promise.all([
      submit({ ...body, instances: exampleOf(4).instances }),
      submit({ ...body, instances: [...body.instances, ...body.instances] }),
      submit(exampleOf(3)),
      submit(body, '?wait=20', { authorization: `Bearer ${stranger}` }),
    ]);
    for (const other of others) expect(other).toMatchObject({ status: 'succeeded', cached: false });
    expect(others[2].predictions).toEqual(first.predictions);
  });

  it('takes nothing that is older than it was to be kept', async () => {
    const body = { ...exampleOf(5), cacheSeconds: 1 };
    expect((await submit(body)).cached).toBe(false);
    await expect.poll(async () => (await submit(body)).cached, { timeout: 5000 }).toBe(false);
  });

  it('is one of many', async () => {
    const job = { ...exampleOf(6), cacheSeconds: 600 };
    await submit(job);
    const { body } = await stack.request('POST', '/v1/jobs/bulk', { jobs: [job, exampleOf(6), job] });
    expect(body.results.map(({ job: { cached } }: { job: { cached: boolean } }) => cached)).toEqual([
      true,
      false,
      true,
    ]);
  });

  it('needs no worker when it is known', async () => {
    const body = { ...exampleOf(9), cacheSeconds: 600 };
    const { predictions } = await submit(body);
    stack.workers[0]?.kill('SIGKILL');
    if (stack.workers[0]) await exited(stack.workers[0]);
    expect(await submit(body)).toMatchObject({ status: 'succeeded', cached: true, predictions });
  });
});

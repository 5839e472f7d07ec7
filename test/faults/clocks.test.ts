/**
 * Clocks that are wrong: due times come from Redis, and who is far off says that it is not ready.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, inject, it } from 'vitest';
import { freePort, ROOT, type Stack, startStack } from '../support/stack.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const MINUTE_MS = 60_000;

let stack: Stack;
afterEach(() => stack.close());

/** For a process whose clock is `ms` ahead. */
const ahead = (ms: number) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(`const now=Date.now;Date.now=()=>now()+(${ms})`)}`,
});

for (const minutes of [10, -10]) {
  it(`a worker whose clock is ${minutes} minutes off runs jobs, expires them on time, and is not ready`, async () => {
    const port = await freePort();
    stack = await startStack(inject('redisUrl'), {}, 0);
    stack.addWorker({ ...ahead(minutes * MINUTE_MS), SLUICE_METRICS_PORT: String(port) });
    await stack.ready();
    const { body } = await stack.request('POST', '/v1/jobs', digit, { prefer: 'wait=20' });
    expect(body.status).toBe('succeeded');
    const [created, started, finished] = [body.createdAt, body.startedAt, body.finishedAt].map(Date.parse);
    expect(started).toBeGreaterThanOrEqual(created as number);
    expect(finished).toBeGreaterThanOrEqual(started as number);
    expect(Math.abs((finished as number) - Date.now())).toBeLessThan(MINUTE_MS);

    await stack.request('POST', '/v1/queues/mnist/pause');
    const late = await stack.request('POST', '/v1/jobs', { ...digit, ttlSeconds: 2 });
    const expired = await stack.request('GET', `/v1/jobs/${late.body.id}?wait=20`);
    expect(expired.body.status).toBe('expired');
    expect(Date.parse(expired.body.finishedAt)).toBeGreaterThanOrEqual(Date.parse(late.body.expiresAt));

    const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain('clock');
  }, 60_000);
}

it('an API process whose clock is far off is not ready; a worker with a good one is', async () => {
  const port = await freePort();
  stack = await startStack(inject('redisUrl'), ahead(MINUTE_MS), 0);
  stack.addWorker({ NODE_OPTIONS: '', SLUICE_METRICS_PORT: String(port) });
  const readyz = (url: string) =>
    fetch(`${url}/readyz`).then(
      ({ status }) => status,
      () => 0,
    );
  await expect.poll(() => readyz(`http://127.0.0.1:${port}`), { timeout: 20_000 }).toBe(200);
  const answer = await stack.request('GET', '/readyz');
  expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable' } });
}, 60_000);

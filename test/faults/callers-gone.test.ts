/**
 * Callers hang up while their requests are held: places are freed, jobs are computed all the same, and a repeat finds them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, inject, it } from 'vitest';
import { scrape, valuesOf } from '../support/scraped-metrics.js';
import { freePort, ROOT, type Stack, startStack } from '../support/stack.js';
import { figure } from './figures.js';
import { until } from './until.js';

/** A tenant may hold as many. */
const CALLERS = 1000;
const FREED_MS = 1000;
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let stack: Stack;
afterEach(() => stack?.close());

it('frees the places of a thousand that are gone, and loses none of their jobs', async () => {
  const metricsPort = await freePort();
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS: 'mnist' }, 0);
  const api = await stack.addApi({ SLUICE_METRICS_PORT: String(metricsPort) });
  stack.addWorker();
  await stack.apiReady(api);
  await stack.ready();
  await stack.request('POST', '/v1/queues/mnist/pause');
  const held = async () => valuesOf(await scrape(metricsPort)).sluice_held_requests;

  const gone = new AbortController();
  const body = JSON.stringify(digit);
  const callers = Array.from({ length: CALLERS }, (_, i) => {
    const headers = {
      authorization: `Bearer ${stack.key}`,
      'content-type': 'application/json',
      'idempotency-key': `caller-${i}`,
    };
    return fetch(`${api.url}/v1/jobs?wait=50`, { method: 'POST', headers, body, signal: gone.signal });
  });
  await until('all are held', 30_000, async () => (await held()) === CALLERS);
  const goneMs = performance.now();
  gone.abort();
  for (const { status } of await Promise.allSettled(callers)) expect(status).toBe('rejected');
  await until('all places are free', 10 * FREED_MS, async () => (await held()) === 0);
  figure('callers', `${CALLERS} places freed, seconds`, (performance.now() - goneMs) / 1000, '1');

  await stack.request('POST', '/v1/queues/mnist/resume');
  for (let i = 0; i < CALLERS; i++) {
    const again = await api.request('POST', '/v1/jobs?wait=50', digit, { 'idempotency-key': `caller-${i}` });
    expect(again.body).toMatchObject({ status: 'succeeded', attempts: 1 });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  }
});

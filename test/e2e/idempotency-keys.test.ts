/**
 * Idempotency-Keys of what has ended, and of what is gone.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { loadConfig } from '../../shared/contract/config.js';
import { jobError } from '../../shared/contract/job.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { until } from '../faults/until.js';
import { type OpenedStore, openFolder } from '../support/blob-stores.js';
import { idleConnections } from '../support/connections.js';
import { type Answer, ROOT, type Stack, startStack } from '../support/stack.js';
import { settleJobs, startJobs } from '../support/turns.js';

const BOUND_MS = 20_000;
const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

let stack: Stack;
let redis: Redis;
let store: OpenedStore;
let core: Core;

beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_ROLES: 'upkeep' });
  await stack.apiReady();
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  store = await openFolder();
  const config = { ...loadConfig({}), SLUICE_KEY_PREFIX: stack.prefix };
  core = composeCore(config, idleConnections(redis, store.store));
});
afterAll(async () => {
  redis?.disconnect();
  await store?.close();
  await stack?.close();
});

/** Has the only job that waits fail, as a worker would. */
async function fail(): Promise<void> {
  const [started] = await startJobs(core, 'mnist', 1, 't1', { maxInstances: 1, maxBytes: 1e6 });
  if (!started) throw new Error('Nothing was started.');
  const { input: _, ...job } = started;
  const end = { error: jobError('input_crashed_backend'), usageMs: 1, timings: null };
  await settleJobs(core, 'mnist', 1, [{ job, end, output: null }]);
}

const isReplay = ({ headers }: Answer) => headers.get('idempotent-replayed') === 'true';

const ENDS: [status: string, body: object, end: (id: string) => unknown][] = [
  ['canceled', {}, (id) => stack.request('POST', `/v1/jobs/${id}/cancel`)],
  ['expired', { ttlSeconds: 1 }, () => undefined],
  ['failed', {}, () => fail()],
];

describe('the key of a job that is', () => {
  it.each(ENDS)(
    '%s answers with that job; once the job is deleted it makes another',
    async (status, more, end) => {
      const key = { 'idempotency-key': `order of ${status}` };
      const submit = () => stack.request('POST', '/v1/jobs', { ...digit, ...more }, key);
      const first = await submit();
      expect([first.status, isReplay(first)]).toEqual([202, false]);
      const { id } = first.body;
      await end(id);
      const view = async () => (await stack.request('GET', `/v1/jobs/${id}`)).body;
      await until(`it is ${status}`, BOUND_MS, async () => (await view()).status === status);

      for (const _ of [1, 2]) {
        const again = await submit();
        expect([again.status, isReplay(again), again.body.id, again.body.status]).toEqual([
          202,
          true,
          id,
          status,
        ]);
      }
      expect((await stack.request('DELETE', `/v1/jobs/${id}`)).status).toBe(204);
      const anew = await submit();
      expect([anew.status, isReplay(anew)]).toEqual([202, false]);
      expect(anew.body.id).not.toBe(id);
      const after = await submit();
      expect([isReplay(after), after.body.id]).toEqual([true, anew.body.id]);
      await stack.request('POST', `/v1/jobs/${anew.body.id}/cancel`);
    },
  );
});

describe('the key of what is deleted makes another', () => {
  it('endpoint', async () => {
    const key = { 'idempotency-key': 'endpoint' };
    const create = () => stack.request('POST', '/v1/webhook-endpoints', { url: 'https://example.com/' }, key);
    const first = await create();
    expect((await stack.request('DELETE', `/v1/webhook-endpoints/${first.body.id}`)).status).toBe(204);
    const anew = await create();
    expect([anew.status, isReplay(anew)]).toEqual([201, false]);
    expect(anew.body.id).not.toBe(first.body.id);
  });

  it('file', async () => {
    const upload = () => {
      const body = new FormData();
      body.append('file', new Blob(['some text']), 'a.txt');
      const headers = { authorization: `Bearer ${stack.key}`, 'idempotency-key': 'file' };
      return fetch(`${stack.url}/v1/files`, { method: 'POST', headers, body });
    };
    const { id } = (await (await upload()).json()) as { id: string };
    expect(((await (await upload()).json()) as { id: string }).id).toBe(id);
    expect((await stack.request('DELETE', `/v1/files/${id}`)).status).toBe(204);
    const anew = await upload();
    expect([anew.status, anew.headers.get('idempotent-replayed')]).toEqual([201, null]);
    expect(((await anew.json()) as { id: string }).id).not.toBe(id);
  });
});

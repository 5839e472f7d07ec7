/**
 * Jobs that nobody computes: their bounds, their place, their cancel and their deadline.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { Redis } from 'ioredis';
import { afterEach, expect, inject, it } from 'vitest';
import { queueViewSchema } from '../../shared/contract/queue-view.js';
import { exited, ROOT, type Stack, startStack } from '../support/stack.js';
import { startRedis, temporaryFolder } from '../support/started-redis.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

const isQueue = new Ajv2020({ strict: false, validateFormats: false }).compile(queueViewSchema);

let stack: Stack;
afterEach(() => stack.close());

async function start(env: Record<string, string>, workers = 0): Promise<void> {
  stack = await startStack(inject('redisUrl'), env, workers);
  const ready = async () => (await stack.request('GET', '/readyz').catch(() => null))?.status;
  await expect.poll(ready, { timeout: 20_000 }).toBe(200);
}

const submit = (more: object = {}) => stack.request('POST', '/v1/jobs', { ...digit, ...more });

it('a tenant has no more queued than its share: 429; canceling one makes room', async () => {
  await start({ SLUICE_MAX_QUEUED_PER_TENANT: '3' });
  const jobs = [await submit(), await submit(), await submit()];
  const refused = await submit();
  expect(refused).toMatchObject({ status: 429, body: { code: 'queue_full_for_tenant', retryable: true } });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  const { id } = jobs[0]?.body ?? {};
  expect((await stack.request('POST', `/v1/jobs/${id}/cancel`)).body.status).toBe('canceled');
  expect((await stack.request('POST', `/v1/jobs/${id}/cancel`)).body.status, 'again').toBe('canceled');
  // A refusal stands for a moment.
  await expect.poll(async () => (await submit()).status).toBe(202);
});

it('a model has no more queued than its share: 503', async () => {
  await start({ SLUICE_MAX_QUEUED_PER_MODEL: '2' });
  await submit();
  await submit();
  expect(await submit()).toMatchObject({ status: 503, body: { code: 'queue_full' } });
});

it('copies for a shadow take no room of the model', async () => {
  const models = temporaryFolder();
  for (const version of ['1', '2'])
    cpSync(join(ROOT, 'deploy/models/mnist/1'), join(models.path, 'mnist', version), { recursive: true });
  const path = join(models.path, 'mnist/2/model.yaml');
  writeFileSync(path, readFileSync(path, 'utf8').replace('version: 1\n', 'version: 2\n'));
  await start({ SLUICE_MODELS_DIR: models.path, SLUICE_MAX_QUEUED_PER_MODEL: '4' }, 1);
  const shadowState = async () => (await stack.request('GET', '/v1/models/mnist/versions/2')).body.state;
  await expect.poll(shadowState, { timeout: 20_000 }).toBe('ready');
  stack.workers.pop()?.kill('SIGKILL');
  const shadow = { version: 1, shadow: { version: 2, percent: 100 } };
  expect((await stack.request('PUT', '/v1/models/mnist/aliases/stable', shadow)).status).toBe(200);
  const copies = async () => {
    const [queue] = (await stack.request('GET', '/v1/queues')).body.data;
    expect(isQueue(queue), JSON.stringify(isQueue.errors)).toBe(true);
    return queue.versions.find(({ version }: { version: number }) => version === 2)?.queued;
  };
  for (let i = 1; i <= 4; i++) {
    expect((await submit({ model: 'mnist@stable' })).status).toBe(202);
    // The last of them leaves no room for its own.
    await expect.poll(copies, { timeout: 10_000 }).toBe(Math.min(i, 3));
  }
  expect(await submit({ model: 'mnist@stable' })).toMatchObject({
    status: 503,
    body: { code: 'queue_full' },
  });
  models.remove();
});

it('a version may bound its queue more tightly than the operator: 503', async () => {
  const models = temporaryFolder();
  cpSync(join(ROOT, 'deploy/models/mnist'), join(models.path, 'mnist'), { recursive: true });
  const path = join(models.path, 'mnist/1/model.yaml');
  writeFileSync(path, readFileSync(path, 'utf8').replace(/^batching:\n/m, 'batching:\n  maxEnqueued: 2\n'));
  await start({ SLUICE_MODELS_DIR: models.path });
  expect((await submit()).status).toBe(202);
  const { body: second } = await submit();
  expect(await submit()).toMatchObject({ status: 503, body: { code: 'queue_full' } });
  await stack.request('DELETE', `/v1/jobs/${second.id}`);
  await expect.poll(async () => (await submit()).status).toBe(202);
  models.remove();
});

it('the place in the queue follows priority, then time', async () => {
  await start({});
  const standard = await submit();
  const bulk = await submit({ priority: 'bulk' });
  const interactive = await submit({ priority: 'interactive' });
  const place = async ({ body }: { body: { id: string } }) =>
    (await stack.request('GET', `/v1/jobs/${body.id}`)).body.queuePosition;
  expect([await place(interactive), await place(standard), await place(bulk)]).toEqual([0, 1, 2]);
});

it('a job expires at its deadline; its held request is answered', async () => {
  await start({ SLUICE_ROLES: 'upkeep' }, 1);
  const { body } = await submit({ ttlSeconds: 1 });
  const ended = await stack.request('GET', `/v1/jobs/${body.id}?wait=20`);
  expect(ended.body).toMatchObject({ status: 'expired', error: { code: 'expired' }, attempts: 0 });
  expect((await stack.request('POST', `/v1/jobs/${body.id}/cancel`)).status).toBe(409);
});

it('a job is forgotten when its retention is over', async () => {
  await start({ SLUICE_ROLES: 'upkeep', SLUICE_RETENTION_SECONDS: '1' }, 1);
  const { body } = await submit();
  await stack.request('POST', `/v1/jobs/${body.id}/cancel`);
  const status = async () => (await stack.request('GET', `/v1/jobs/${body.id}`)).status;
  await expect.poll(status, { timeout: 15_000 }).toBe(404);
  expect((await stack.request('GET', '/v1/jobs')).body.data).toEqual([]);
});

it('limits of a body, of instances and of held requests are what the operator says', async () => {
  await start({
    SLUICE_MAX_BODY_BYTES: '8192',
    SLUICE_MAX_INSTANCES: '1',
    SLUICE_MAX_DEPTH: '3',
    SLUICE_MAX_WAIT_SECONDS: '1',
    SLUICE_MAX_WAITS_PER_TENANT: '1',
  });
  const zeros = new Array(784).fill(0);
  expect((await submit({ metadata: { a: 'x'.repeat(9000) } })).status).toBe(413);
  expect((await submit({ instances: [zeros, zeros] })).body.errors[0].path).toBe('/instances');
  expect((await submit({ instances: [[[[1]]]] })).body.code).toBe('malformed_json');
  const { body } = await submit();
  const [first, second] = await Promise.all(
    [1, 2].map(() => stack.request('GET', `/v1/jobs/${body.id}?wait=50`)),
  );
  expect([first?.status, second?.status].sort(), 'one is held, for a second at most').toEqual([200, 429]);
});

it('a Redis that keeps no append-only file is refused, unless the operator insists', async () => {
  const folder = temporaryFolder();
  const server = await startRedis(folder.path);
  const redis = new Redis(server.url);
  await redis.config('SET', 'appendonly', 'no');
  stack = await startStack(server.url, {}, 0);
  expect(await exited(stack.api)).toBe(78);
  expect(stack.output()).toContain('appendonly is off');
  await stack.close();
  stack = await startStack(server.url, { SLUICE_ALLOW_UNSAFE_REDIS: '1' }, 0);
  const ready = async () => (await stack.request('GET', '/readyz').catch(() => null))?.status;
  await expect.poll(ready, { timeout: 20_000 }).toBe(200);
  await stack.close();
  redis.disconnect();
  await server.stop();
  folder.remove();
});

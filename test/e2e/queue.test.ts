/**
 * Jobs that nobody computes: their bounds, their place, their cancel and their deadline.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, inject, it } from 'vitest';
import { queueViewSchema } from '../../shared/contract/queue-view.js';
import { type Api, exited, ROOT, type Stack, startStack } from '../support/stack.js';
import { startRedis, temporaryFolder } from '../support/started-redis.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));

const isQueue = new Ajv2020({ strict: false, validateFormats: false }).compile(queueViewSchema);
const BOUNDED = { SLUICE_MAX_QUEUED_PER_MODEL: '4' };
/** The models of all tests: mnist under many names, since a refusal stands for a moment. */
const models = temporaryFolder();
for (const name of ['places', 'crowded', 'forgotten', 'limited', 'full', 'shadowed', 'tight', 'expiring'])
  writeModel(name, 1);
writeModel('shadowed', 2);
edit('tight', 1, (text) => text.replace(/^batching:\n/m, 'batching:\n  maxEnqueued: 2\n'));

let stack: Stack;
/** An API with bounds so low that the others keep away from it. */
let strict: Api;
beforeAll(async () => {
  stack = await startStack(inject('redisUrl'), { SLUICE_MODELS_DIR: models.path, ...BOUNDED }, 0);
  strict = await stack.addApi({
    SLUICE_MAX_QUEUED_PER_TENANT: '3',
    SLUICE_RETENTION_SECONDS: '1',
    SLUICE_MAX_BODY_BYTES: '8192',
    SLUICE_MAX_INSTANCES: '1',
    SLUICE_MAX_DEPTH: '3',
    SLUICE_MAX_WAIT_SECONDS: '1',
    SLUICE_MAX_WAITS_PER_TENANT: '1',
  });
  stack.addWorker({ SLUICE_ROLES: 'upkeep' });
  await stack.apiReady();
  await stack.apiReady(strict);
});
afterAll(async () => {
  await stack.close();
  models.remove();
});
/** Jobs that one test leaves in the queue would count in the next. */
afterEach(async () => {
  const { data } = (await stack.request('GET', '/v1/jobs?status=queued&limit=100')).body;
  for (const { id } of data) await stack.request('POST', `/v1/jobs/${id}/cancel`);
});

function writeModel(name: string, version: number): void {
  const path = join(models.path, name, String(version));
  cpSync(join(ROOT, 'deploy/models/mnist/1'), path, { recursive: true });
  edit(name, version, (text) =>
    text.replace(/^name: mnist$/m, `name: ${name}`).replace(/^version: 1$/m, `version: ${version}`),
  );
}

function edit(name: string, version: number, change: (text: string) => string): void {
  const file = join(models.path, name, String(version), 'model.yaml');
  writeFileSync(file, change(readFileSync(file, 'utf8')));
}

const submitTo = (api: Pick<Api, 'request'>, model: string, more: object = {}) =>
  api.request('POST', '/v1/jobs', { ...digit, model, ...more });

it('the place in the queue follows priority, then time', async () => {
  const standard = await submitTo(stack, 'places');
  const bulk = await submitTo(stack, 'places', { priority: 'bulk' });
  const interactive = await submitTo(stack, 'places', { priority: 'interactive' });
  const place = async ({ body }: { body: { id: string } }) =>
    (await stack.request('GET', `/v1/jobs/${body.id}`)).body.queuePosition;
  expect([await place(interactive), await place(standard), await place(bulk)]).toEqual([0, 1, 2]);
});

it('a job is forgotten when its retention is over', async () => {
  const { body } = await submitTo(strict, 'forgotten');
  await strict.request('POST', `/v1/jobs/${body.id}/cancel`);
  const status = async () => (await strict.request('GET', `/v1/jobs/${body.id}`)).status;
  await expect.poll(status, { timeout: 15_000 }).toBe(404);
  expect((await strict.request('GET', '/v1/jobs?model=forgotten')).body.data).toEqual([]);
});

it('limits of a body, of instances and of held requests are what the operator says', async () => {
  const zeros = new Array(784).fill(0);
  const submit = (more: object = {}) => submitTo(strict, 'limited', more);
  expect((await submit({ metadata: { a: 'x'.repeat(9000) } })).status).toBe(413);
  expect((await submit({ instances: [zeros, zeros] })).body.errors[0].path).toBe('/instances');
  expect((await submit({ instances: [[[[1]]]] })).body.code).toBe('malformed_json');
  const { body } = await submit();
  const [first, second] = await Promise.all(
    [1, 2].map(() => strict.request('GET', `/v1/jobs/${body.id}?wait=50`)),
  );
  expect([first?.status, second?.status].sort(), 'one is held, for a second at most').toEqual([200, 429]);
});

it('a tenant has no more queued than its share: 429; canceling one makes room', async () => {
  const submit = () => submitTo(strict, 'crowded');
  const jobs = [await submit(), await submit(), await submit()];
  const refused = await submit();
  expect(refused).toMatchObject({ status: 429, body: { code: 'queue_full_for_tenant', retryable: true } });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  const { id } = jobs[0]?.body ?? {};
  expect((await strict.request('POST', `/v1/jobs/${id}/cancel`)).body.status).toBe('canceled');
  expect((await strict.request('POST', `/v1/jobs/${id}/cancel`)).body.status, 'again').toBe('canceled');
  // A refusal stands for a moment.
  await expect.poll(async () => (await submit()).status).toBe(202);
});

it('a model has no more queued than its share: 503', async () => {
  for (let i = 0; i < 4; i++) expect((await submitTo(stack, 'full')).status).toBe(202);
  expect(await submitTo(stack, 'full')).toMatchObject({ status: 503, body: { code: 'queue_full' } });
});

it('copies for a shadow take no room of the model', async () => {
  const worker = stack.addWorker({ SLUICE_ROLES: 'inference', SLUICE_MODELS: 'shadowed' });
  const shadowState = async () => (await stack.request('GET', '/v1/models/shadowed/versions/2')).body.state;
  await expect.poll(shadowState, { timeout: 20_000 }).toBe('ready');
  worker.kill('SIGKILL');
  const shadow = { version: 1, shadow: { version: 2, percent: 100 } };
  expect((await stack.request('PUT', '/v1/models/shadowed/aliases/stable', shadow)).status).toBe(200);
  const copies = async () => {
    const { data } = (await stack.request('GET', '/v1/queues')).body;
    const queue = data.find(({ model }: { model: string }) => model === 'shadowed');
    expect(isQueue(queue), JSON.stringify(isQueue.errors)).toBe(true);
    return queue.versions.find(({ version }: { version: number }) => version === 2)?.queued;
  };
  for (let i = 1; i <= 4; i++) {
    expect((await submitTo(stack, 'shadowed@stable')).status).toBe(202);
    // The last of them leaves no room for its own.
    await expect.poll(copies, { timeout: 10_000 }).toBe(Math.min(i, 3));
  }
  expect(await submitTo(stack, 'shadowed@stable')).toMatchObject({
    status: 503,
    body: { code: 'queue_full' },
  });
});

it('a version may bound its queue more tightly than the operator: 503', async () => {
  const submit = () => submitTo(stack, 'tight');
  expect((await submit()).status).toBe(202);
  const { body: second } = await submit();
  expect(await submit()).toMatchObject({ status: 503, body: { code: 'queue_full' } });
  await stack.request('DELETE', `/v1/jobs/${second.id}`);
  await expect.poll(async () => (await submit()).status).toBe(202);
});

it('a job expires at its deadline; its held request is answered', async () => {
  const { body } = await submitTo(stack, 'expiring', { ttlSeconds: 1 });
  const ended = await stack.request('GET', `/v1/jobs/${body.id}?wait=20`);
  expect(ended.body).toMatchObject({ status: 'expired', error: { code: 'expired' }, attempts: 0 });
  expect((await stack.request('POST', `/v1/jobs/${body.id}/cancel`)).status).toBe(409);
});

it('a Redis that keeps no append-only file is refused, unless the operator insists', async () => {
  const folder = temporaryFolder();
  const server = await startRedis(folder.path);
  const redis = new Redis(server.url);
  await redis.config('SET', 'appendonly', 'no');
  let stack = await startStack(server.url, {}, 0);
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

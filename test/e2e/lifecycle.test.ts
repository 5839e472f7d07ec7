/**
 * A job may be retried, erased, held back, canceled while it runs, or refused for want of room.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { openRedis } from '../../shared/redis/connect.js';
import { BOTH_MODELS, exited, ROOT, type Stack, startStack } from '../support/stack.js';
import { startRedis, temporaryFolder } from '../support/started-redis.js';

const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
const UNKNOWN = `job_${'0'.repeat(36)}`;

/** Ten batches of some tenths of a second each. */
async function album() {
  const grey = { width: 48, height: 48, channels: 3, background: '#888888' } as const;
  const b64 = (await sharp({ create: grey }).png().toBuffer()).toString('base64');
  return { model: 'upscale', instances: new Array(40).fill({ image: { b64 } }) };
}

describe('with a worker', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack(inject('redisUrl'), { ...BOTH_MODELS, LOG_LEVEL: 'info' });
    await stack.ready();
  }, 30_000);
  afterAll(() => stack.close());

  const request: Stack['request'] = (...args) => stack.request(...args);
  const submit = (more: object = {}, headers = {}) =>
    request('POST', '/v1/jobs', { ...digit, ...more }, headers);
  const done = (more: object = {}) => submit(more, { prefer: 'wait=20' });
  const waitFor = (id: string) => request('GET', `/v1/jobs/${id}?wait=20`);

  it('a job that has ended can be retried: a new job with the same input', async () => {
    const old = await done({ metadata: { a: 'b' } });
    const again = await request('POST', `/v1/jobs/${old.body.id}/retry`, undefined, {
      'idempotency-key': 'r1',
    });
    expect(again).toMatchObject({ status: 202, body: { retryOf: old.body.id, metadata: { a: 'b' } } });
    expect(again.headers.get('location')).toBe(`/v1/jobs/${again.body.id}`);
    expect((await waitFor(again.body.id)).body.predictions).toEqual(old.body.predictions);
    const replayed = await request('POST', `/v1/jobs/${old.body.id}/retry`, undefined, {
      'idempotency-key': 'r1',
    });
    expect(replayed.body.id).toBe(again.body.id);
    expect(replayed.headers.get('idempotent-replayed')).toBe('true');
    expect(stack.output()).toContain('job.retry');
    expect((await request('POST', `/v1/jobs/${UNKNOWN}/retry`)).status).toBe(404);
  });

  it('all jobs of a filter can be retried', async () => {
    const from = new Date().toISOString();
    const jobs = [await done(), await done()];
    const answer = await request('POST', `/v1/jobs/retry?status=succeeded&from=${from}`);
    expect(answer.body.results.map(({ id }: { id: string }) => id).sort()).toEqual(
      jobs.map(({ body }) => body.id).sort(),
    );
    for (const { status, job } of answer.body.results) {
      expect(status).toBe(202);
      expect((await waitFor(job.id)).body.status).toBe('succeeded');
    }
  });

  it('a job that has ended can be erased, with all that it held', async () => {
    const { body } = await done();
    expect((await request('DELETE', `/v1/jobs/${body.id}`)).status).toBe(204);
    expect((await request('GET', `/v1/jobs/${body.id}`)).status).toBe(404);
    expect((await request('DELETE', `/v1/jobs/${body.id}`)).status).toBe(404);
    const redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
    expect(await redis.keys(`*${body.id}*`)).toEqual([]);
    redis.disconnect();
  });

  it('a paused queue takes, cancels and places jobs, but starts none until it is resumed', async () => {
    const paused = await request('POST', '/v1/queues/mnist/pause');
    expect(paused).toMatchObject({ status: 200, body: { model: 'mnist', paused: true, queued: 0 } });
    const [first, second, third] = [
      await submit(),
      await submit(),
      await submit({ priority: 'interactive' }),
    ];
    expect((await request('GET', `/v1/jobs/${second.body.id}`)).body.queuePosition).toBe(2);
    expect((await request('POST', `/v1/jobs/${first.body.id}/cancel`)).body.status).toBe('canceled');
    expect((await request('POST', `/v1/jobs/${second.body.id}/retry`)).body.code).toBe('job_not_finished');
    const { body } = await request('GET', '/v1/queues');
    expect(body.data.find(({ model }: { model: string }) => model === 'mnist')).toMatchObject({
      paused: true,
      queued: 2,
    });
    expect((await request('GET', `/v1/jobs/${third.body.id}?wait=1`)).body.status).toBe('queued');
    expect((await request('DELETE', `/v1/jobs/${third.body.id}`)).status).toBe(204);
    expect(await request('POST', '/v1/queues/mnist/resume')).toMatchObject({
      body: { paused: false, pausedAt: null },
    });
    expect((await waitFor(second.body.id)).body.status).toBe('succeeded');
    expect((await request('POST', '/v1/queues/nothing/pause')).status).toBe(404);
  });

  it('a running job is canceled at once, and its worker goes on with others', async () => {
    const long = await submit(await album());
    const status = async () => (await request('GET', `/v1/jobs/${long.body.id}`)).body.status;
    await expect.poll(status, { timeout: 20_000 }).toBe('running');
    expect((await request('DELETE', `/v1/jobs/${long.body.id}`)).status).toBe(409);
    const canceled = await request('POST', `/v1/jobs/${long.body.id}/cancel`);
    expect(canceled).toMatchObject({ status: 200, body: { status: 'canceled', predictions: null } });
    expect((await done()).body.status).toBe('succeeded');
    expect((await waitFor(long.body.id)).body).toEqual(canceled.body);
  }, 60_000);

  it('hands back what it has not computed when it is told to stop, and another goes on at once', async () => {
    const { body } = await submit(await album());
    const job = async () => (await request('GET', `/v1/jobs/${body.id}`)).body;
    await expect.poll(async () => (await job()).status, { timeout: 20_000 }).toBe('running');
    const [first] = stack.workers;
    first?.kill('SIGTERM');
    expect(first && (await exited(first))).toBe(0);
    expect((await job()).status).toBe('running');
    stack.addWorker();
    await expect.poll(async () => (await job()).status, { timeout: 90_000 }).toBe('succeeded');
    expect(await job()).toMatchObject({ attempts: 1, history: [] });
  }, 150_000);
});

describe('with a Redis of its own', () => {
  const folder = temporaryFolder();
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    folder.remove();
  });

  it('jobs are refused while Redis is nearly full, and taken again when it has room', async () => {
    const server = await startRedis(folder.path);
    closers.push(() => server.stop());
    const redis = await openRedis(server.url, 'work', () => undefined);
    closers.push(async () => redis.disconnect());
    const stack = await startStack(server.url, { SLUICE_MODELS: 'mnist' });
    closers.push(() => stack.close());
    await stack.ready();
    const submit = () => stack.request('POST', '/v1/jobs', digit);
    const { body } = await submit();
    // Four fifths of what Redis may hold: above the watermark, with room left for what is running.
    await redis.setrange('filler', 64 * 1024 ** 2, 'x');
    const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
    await redis.config('SET', 'maxmemory', Math.round(used / 0.8));
    await expect
      .poll(async () => (await submit()).body.code, { timeout: 10_000 })
      .toBe('insufficient_storage');
    const refused = await submit();
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await stack.request('GET', `/v1/jobs/${body.id}?wait=10`)).body.status).toBe('succeeded');
    await redis.del('filler');
    await expect.poll(async () => (await submit()).status, { timeout: 10_000 }).toBe(202);
  }, 60_000);
});

/**
 * Redis carries a command out and its answer is lost: the client connects again and sends it once more.
 *
 * The caller is told what it would have been told, and keeps what it stored before it asked.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { type BatchSpec, NO_LINES } from '../../shared/contract/batch.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import { type JobSpec, jobError } from '../../shared/contract/job.js';
import type { Manifest } from '../../shared/contract/models/manifest.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import type { Idempotency } from '../../shared/core/idempotency.js';
import type { Started } from '../../shared/core/jobs/executions.js';
import { MAX_INLINE_BYTES } from '../../shared/core/jobs/payloads.js';
import { CHECK_QUEUED_AFTER_MS } from '../../shared/core/jobs/submission/job-writer.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import type { Keys } from '../../shared/redis/keys.js';
import { type OpenedStore, openFolder } from '../support/blob-stores.js';
import { idleConnections } from '../support/connections.js';
import { newJobSpec } from '../support/job-specs.js';
import { openProxy, type TcpProxy } from '../support/proxy.js';
import { ROOT, type Stack, startStack } from '../support/stack.js';
import { settleJobs, startJobs } from '../support/turns.js';

const BOUND = { timeout: 20_000 };
const SHARE = { maxInstances: 4, maxBytes: 1e6 };
const END = { error: null, usageMs: 1, timings: null };
const LARGE = Buffer.alloc(MAX_INLINE_BYTES + 1, 7);
const KEY: Idempotency = { route: 'jobs', key: 'order-42', fingerprint: 'body' };

const redisPort = () => Number(new URL(inject('redisUrl')).port);

/** A comparison that names the first difference costs a second on a busy machine. */
const isLarge = (bytes: Buffer | null | undefined) => bytes?.equals(LARGE);

/** Does it on a connection that loses the answer to what holds this text. */
async function losing<T>(way: TcpProxy, text: string, act: () => Promise<T>): Promise<T> {
  const [answer] = await Promise.all([act(), way.loseAnswer(text)]);
  return answer;
}

describe('when an answer of Redis is lost,', BOUND, () => {
  let way: TcpProxy;
  let redis: Redis;
  let keys: Keys;
  let opened: OpenedStore;
  let core: Core;
  /** Tickets and batches as the transport got them. */
  let called: string[];

  beforeEach(async () => {
    way = await openProxy(redisPort());
    const url = new URL(inject('redisUrl'));
    url.hostname = '127.0.0.1';
    url.port = String(way.port);
    redis = await openRedis(url.href, 'work', () => undefined);
    opened = await openFolder();
    called = [];
    const config = {
      ...loadConfig({}),
      SLUICE_KEY_PREFIX: `{lost-${newId('req', 0).slice(-10)}}`,
      SLUICE_MAX_BATCHES_PER_TENANT: 1,
      SLUICE_MAX_ENDPOINTS_PER_TENANT: 1,
    };
    const transport = {
      add: async (_: string, __: number, ticket: string) => void called.push(ticket),
      count: async () => called.length,
      drop: async () => [],
    };
    const batchQueue = { add: async (id: string) => void called.push(id) };
    core = composeCore(config, idleConnections(redis, opened.store, { transport, batchQueue }));
    keys = core.keys;
  });
  afterEach(async () => {
    const left = await redis.keys(`${keys.outbox.replace(/:outbox$/, '')}*`);
    if (left.length > 0) await redis.unlink(left);
    redis.disconnect();
    await way.close();
    await opened.close();
  });

  const lose = <T>(text: string, act: () => Promise<T>) => losing(way, text, act);

  function newJob(): { spec: JobSpec; ttlSeconds: number; input: Buffer } {
    const spec = newJobSpec();
    return { spec, ttlSeconds: 60, input: LARGE };
  }

  async function startOne(): Promise<Started> {
    await core.jobWriter.write(newJob());
    const [started] = await startJobs(core, 'm', 1, 't1', SHARE);
    if (!started) throw new Error('Nothing was started.');
    return started;
  }

  const newBatch = (): BatchSpec => ({
    id: newId('batch', Date.now()),
    tenant: 'acme',
    model: 'm',
    version: 1,
    alias: null,
    metadata: {},
    inputFile: 'file_in',
    outputFile: 'file_out',
    errorFile: 'file_err',
  });

  it.each([
    ['a submit with a key', KEY, ':idempotency:'],
    ['a submit without one', undefined, ':waiting:'],
  ])('%s makes one job, with its input, and hands its ticket over', async (_, key, marker) => {
    const job = newJob();
    const { replayed, record } = await lose(marker, () => core.jobWriter.write(job, key));
    expect(replayed).toBe(false);
    expect(record).toEqual(await core.jobs.get('acme', job.spec.id));
    expect(called).toEqual(['t1']);
    const [started] = await startJobs(core, 'm', 1, 't1', SHARE);
    expect(isLarge(started && (await core.payloads.load(started.input)))).toBe(true);
    expect(await redis.hget(keys.queued, 'tenant:acme')).toBe('0');
    expect(await redis.hget(keys.queue('m', 1), 'uses')).toBe('1');
  });

  it("a submit under another's key is told of the other's, and keeps nothing", async () => {
    const first = newJob();
    await core.jobWriter.write(first, KEY);
    const second = newJob();
    const { replayed, record } = await lose(':idempotency:', () => core.jobWriter.write(second, KEY));
    expect([replayed, record.spec.id]).toEqual([true, first.spec.id]);
    expect(isLarge(await opened.store.get(`jobs/${first.spec.id}/input`))).toBe(true);
    expect(await opened.store.get(`jobs/${second.spec.id}/input`)).toBeNull();
  });

  it('a submit whose job is gone when it is sent again makes no second one', async () => {
    const job = newJob();
    await core.jobWriter.write(job, KEY);
    await core.jobs.erase('acme', job.spec.id);
    await expect(core.jobWriter.write(job, KEY)).rejects.toMatchObject({ code: 'not_found' });
    expect(await core.jobs.get('acme', job.spec.id)).toBeNull();
  });

  it('many submits make each job once', async () => {
    const jobs = Array.from({ length: 20 }, newJob);
    const submit = (job: ReturnType<typeof newJob>, nth: number) =>
      core.jobWriter.write(job, { ...KEY, route: 'jobs/bulk', key: `order-42 ${nth}` });
    const submitted = await lose(':idempotency:', () => Promise.all(jobs.map(submit)));
    expect(submitted.filter(({ replayed }) => replayed)).toEqual([]);
    expect(submitted.map(({ record }) => record.spec.id)).toEqual(jobs.map(({ spec }) => spec.id));
    for (const { spec } of jobs) expect(isLarge(await opened.store.get(`jobs/${spec.id}/input`))).toBe(true);
    expect(new Set(called)).toEqual(new Set(['t1']));
    expect(await redis.hget(keys.queued, 'tenant:acme')).toBe('20');
  });

  it('a submit that is answered at once tells that it was', async () => {
    const job = newJob();
    const spec: JobSpec = { ...job.spec, cache: { hash: 'h', seconds: 60 } };
    await core.predictionCache.keep(spec, Buffer.from('kept'));
    const { replayed, record } = await lose(':idempotency:', () =>
      core.jobWriter.write({ ...job, spec }, KEY),
    );
    expect([replayed, record.status, record.end?.cached]).toEqual([false, 'succeeded', true]);
  });

  it('a start hands the next ticket over', async () => {
    for (let i = 0; i < 6; i++) await core.jobWriter.write(newJob());
    const started = await lose(':taken:', () => startJobs(core, 'm', 1, 't1', SHARE));
    expect(started.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1]);
    expect(called).toEqual(['t1', 't2']);
  });

  it('a look for jobs that wait hands their ticket over', async () => {
    await core.queueStatus.pause('m');
    await core.jobWriter.write(newJob());
    expect(called).toEqual([]);
    await lose(':waiting:', () => core.queueStatus.resume('m', [1]));
    expect(called).toEqual(['t1']);
  });

  it('a worker that settles keeps its result', async () => {
    const { input: _, ...job } = await startOne();
    const output = await core.payloads.storeOutput(job.spec.id, job.token, LARGE);
    const finished = [{ job, end: END, output }];
    expect(await lose(':waiting:', () => settleJobs(core, 'm', 1, finished))).toEqual(['succeeded']);
    // Another end under that token is as void as it ever was.
    const other = [{ job, end: { ...END, usageMs: 2 }, output }];
    expect(await settleJobs(core, 'm', 1, other)).toEqual(['void']);
    expect(isLarge((await core.jobs.getWithOutput('acme', job.spec.id))?.output)).toBe(true);
  });

  it('a worker whose execution is to be repeated has it repeated once', async () => {
    const { input: _, ...job } = await startOne();
    const finished = [{ job, end: { ...END, error: jobError('unavailable') }, output: null }];
    expect(await lose(':waiting:', () => settleJobs(core, 'm', 1, finished))).toEqual(['retried']);
    expect((await core.jobs.get('acme', job.spec.id))?.history).toHaveLength(1);
  });

  it('a worker whose job has no time for a repetition has ended it', async () => {
    const { input: _, ...job } = await startOne();
    await redis.hset(keys.job(job.spec.id), 'expiresAt', Date.now());
    const finished = [{ job, end: { ...END, error: jobError('unavailable') }, output: null }];
    expect(await lose(':waiting:', () => settleJobs(core, 'm', 1, finished))).toEqual(['failed']);
    expect((await core.jobs.get('acme', job.spec.id))?.history).toHaveLength(1);
  });

  it('who erases a job has erased it', async () => {
    const { spec } = newJob();
    await core.jobWriter.write({ ...newJob(), spec });
    await core.jobs.cancel('acme', spec.id);
    await lose(':tenant:acme:jobs', () => core.jobs.erase('acme', spec.id));
    expect(await opened.store.get(`jobs/${spec.id}/input`)).toBeNull();
  });

  it('who creates a batch creates one, and calls a driver', async () => {
    const spec = newBatch();
    const key = { key: 'order-42', fingerprint: 'body' };
    const { replayed } = await lose(':idempotency:', () => core.batches.create(spec, 60, key));
    expect(replayed).toBe(false);
    expect(called).toEqual([spec.id]);
    const again = await core.batches.create(newBatch(), 60, key);
    expect([again.replayed, again.record.spec.id]).toEqual([true, spec.id]);
  });

  it('who drives a batch keeps it, and the results of its lines', async () => {
    const spec = newBatch();
    await core.batches.create(spec, 60);
    const taken = await lose(':batch:', () => core.batches.take(spec.id));
    if (!taken) throw new Error('The batch has ended.');
    const part = { token: taken.token, lastLine: 5, output: true, errors: false };
    expect(await lose(':batch:', () => core.batches.addPart(taken, 0, part, NO_LINES))).toBe(true);
    const files = { output: true, errors: false };
    expect(
      await lose(':batch:', () =>
        core.batches.finish(taken, 'completed', { files, error: null, firstFailure: null }),
      ),
    ).toBe(true);
    expect(await redis.hgetall(keys.openBatches)).toEqual({});
    expect(await redis.hget(keys.queue('m', 1), 'uses')).toBe('0');
  });

  it('who uploads a file keeps it', async () => {
    const file = { contentType: 'a/b', filename: 'f', content: LARGE };
    const { replayed, record } = await lose(':idempotency:', () =>
      core.files.create('acme', file, 'order-42'),
    );
    expect(replayed).toBe(false);
    expect(isLarge(await core.files.read(record))).toBe(true);
    const again = await core.files.create('acme', file, 'order-42');
    expect([again.replayed, again.record.id]).toEqual([true, record.id]);
  });

  it('who registers an endpoint registers one, and rotates its secret once', async () => {
    const body = { url: 'https://example.com/' };
    const create = () => core.endpoints.create('acme', body, { ...KEY, route: 'webhook-endpoints' });
    const { replayed, endpoint } = await lose(':idempotency:', create);
    expect(replayed).toBe(false);
    const rotated = await lose('"untilMs":null', () => core.endpoints.rotate('acme', endpoint.id));
    expect(rotated.secrets.map(({ secret }) => secret).slice(1)).toEqual([endpoint.secrets[0]?.secret]);
    const [first] = await core.endpoints.tenantSecrets('acme');
    const own = await lose('"untilMs":null', () => core.endpoints.rotateTenant('acme'));
    expect(own.slice(1)).toEqual([first]);
  });

  it('who registers a version has its number, and nobody else', async () => {
    const manifest = { name: 'm', version: 1, files: {} } as Manifest;
    const add = () => core.models.add({ manifest, sizeBytes: 1 }, 'mdl_1');
    expect(await lose(':models-revision', add)).toBe(true);
    expect(await add()).toBe(false);
    expect(await core.models.revision()).toBe('1');
  });

  it('who registers a bundled version has it registered once', async () => {
    const manifest = { name: 'm', version: 1, files: {} } as Manifest;
    await lose(':models', () => core.models.register({ manifest, sizeBytes: 1 }));
    expect((await core.models.read('m'))?.versions).toMatchObject([{ state: 'pending', uploaded: false }]);
  });

  it('who purges a version and deletes its model has them gone', async () => {
    for (const version of [1, 2, 3]) {
      const manifest = { name: 'm', version, files: {} } as Manifest;
      await core.models.add({ manifest, sizeBytes: 1 }, `mdl_${version}`);
    }
    await lose(':purges', () => core.models.retire('m', 1, 0));
    expect(await core.models.revision()).toBe('4');
    expect(await lose(':waiting:', () => core.versionPurge.purgeVersion('m', 1))).toBe(true);
    await core.models.retire('m', 2, 0);
    expect(await lose(':poisons:', () => core.versionPurge.purgeVersion('m', 2))).toBe(true);
    expect((await core.models.read('m'))?.purged.toSorted()).toEqual([1, 2]);
    expect(await lose(':canaries', () => core.models.remove('m'))).toBe(true);
    expect(await lose(':version-numbers', () => core.versionPurge.purgeModel('m'))).toBe(true);
    expect(await core.models.read('m')).toBeNull();
    expect(await redis.hgetall(keys.versionNumbers)).toEqual({ m: '3' });
  });

  it('who keeps predictions keeps them once', async () => {
    const spec: JobSpec = { ...newJob().spec, cache: { hash: 'h', seconds: 60 } };
    await lose(':answers:', () => core.predictionCache.keep(spec, Buffer.from('kept')));
    expect(await redis.zcard(keys.answers('m', 1))).toBe(1);
  });

  it('who pauses a model has it paused', async () => {
    await lose(':paused', () => core.queueStatus.pause('m'));
    expect((await core.queueStatus.stateOf('m', [1])).paused).toBe(true);
  });

  it('who rolls a canary back tells of it', async () => {
    for (const version of [1, 2])
      await core.models.add(
        { manifest: { name: 'm', version, files: {} } as Manifest, sizeBytes: 1 },
        'mdl_1',
      );
    await core.models.moveAlias('m', 'live', { version: 1, canary: { version: 2, percent: 5, minJobs: 1 } });
    await redis.hset(keys.versionOutcomes('m', 1), { succeeded: 9, failed: 0 });
    await redis.hset(keys.versionOutcomes('m', 2), { succeeded: 0, failed: 9 });
    expect(await lose('rolled_back', () => core.canaries.tend())).toMatchObject([
      { model: 'm', alias: 'live' },
    ]);
  });
});

describe('an API that misses an answer of Redis', BOUND, () => {
  let way: TcpProxy;
  let stack: Stack;
  const digit = JSON.parse(readFileSync(join(ROOT, 'deploy/models/mnist/examples/7.json'), 'utf8'));
  /** Its input is a blob. */
  const rows = { ...digit, instances: Array.from({ length: 40 }, () => digit.instances[0]) };

  beforeAll(async () => {
    way = await openProxy(redisPort());
    stack = await startStack(`redis://127.0.0.1:${way.port}`, { SLUICE_MODELS: 'mnist' }, 0);
    stack.addWorker({ REDIS_URL: inject('redisUrl') });
    await stack.ready();
  });
  afterAll(async () => {
    await stack?.close();
    await way?.close();
  });

  it('takes a job once, says so, and has it computed', async () => {
    const key = { 'idempotency-key': 'order-42' };
    const post = () => stack.request('POST', '/v1/jobs?wait=15', rows, key);
    const { status, headers, body } = await losing(way, ':idempotency:', post);
    expect([status, headers.get('idempotent-replayed')]).toEqual([200, null]);
    expect([body.status, body.predictions.length]).toEqual(['succeeded', 40]);
    // Its ticket was not lost, for which upkeep would have had to look.
    expect(Date.parse(body.startedAt) - Date.parse(body.createdAt)).toBeLessThan(CHECK_QUEUED_AFTER_MS);
    const again = await post();
    expect([again.headers.get('idempotent-replayed'), again.body.id]).toEqual(['true', body.id]);
  });

  it('takes the jobs of a bulk once, and has them computed', async () => {
    const post = () =>
      stack.request('POST', '/v1/jobs/bulk', { jobs: [rows, rows] }, { 'idempotency-key': 'all' });
    const { status, headers, body } = await losing(way, ':idempotency:', post);
    expect([status, headers.get('idempotent-replayed')]).toEqual([200, null]);
    for (const { job } of body.results) {
      const ended = await stack.request('GET', `/v1/jobs/${job.id}?wait=15`);
      expect(ended.body.status, JSON.stringify(ended.body.error)).toBe('succeeded');
    }
  });

  it('registers an uploaded version under the number that its manifest states', async () => {
    const folder = join(ROOT, 'deploy/models/mnist/1');
    const form = new FormData();
    const stated = readFileSync(join(folder, 'model.yaml'), 'utf8').replace(/^version: .*$/m, 'version: 7');
    form.append('file', new Blob([stated]), 'model.yaml');
    for (const path of ['model.json', 'group1-shard1of1.bin', 'golden.json'])
      form.append('file', new Blob([new Uint8Array(readFileSync(join(folder, path)))]), path);
    const response = await losing(way, ':models-revision', () =>
      fetch(`${stack.url}/v1/models/mnist/versions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${stack.key}` },
        body: form,
      }),
    );
    expect([response.status, await response.json()]).toMatchObject([202, { version: 7 }]);
  });
});

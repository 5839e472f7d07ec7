/**
 * The life of a record in Redis: tickets, starts, fencing, and who wins when two end one job.
 */
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { systemClock } from '../../shared/base/clock.js';
import type { BlobStore } from '../../shared/blobs/blobs.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { type Config, loadConfig } from '../../shared/contract/config.js';
import type { SluiceError } from '../../shared/contract/errors.js';
import { newId } from '../../shared/contract/ids.js';
import { type JobSpec, jobError, type Priority, SHADOW_TENANT } from '../../shared/contract/job.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import type { Idempotency } from '../../shared/core/idempotency.js';
import type { Started, Unstarted } from '../../shared/core/jobs/executions.js';
import { MAX_INLINE_BYTES } from '../../shared/core/jobs/payloads.js';

/** The time after which lua/include/wake-ticket.lua takes a ticket for lost. */
const TICKET_LOST_MS = 2000;

import { ORPHAN_AGE_MS } from '../../shared/core/sweep-orphans.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import type { Keys } from '../../shared/redis/keys.js';
import { agedBlobs } from '../support/blob-stores.js';
import { idleConnections } from '../support/connections.js';
import { IS_LONG } from '../support/long.js';
import { temporaryFolder } from '../support/started-redis.js';
import { settleJobs, startJobs } from '../support/turns.js';

const CONFIG: Config = { ...loadConfig({}), SLUICE_TENANT_WEIGHTS: 'heavy=3' };
const SHARE = { maxInstances: 4, maxBytes: 1000 };
const END = { error: null, usageMs: 1, timings: null };
const OUTPUT = { inline: Buffer.from('out'), blob: null };

let redis: Redis;
let prefix: string;
let keys: Keys;
let core: Core;
let jobs: Core['jobs'];
/** Tickets as the transport got them. */
let tickets: string[];
let errors: unknown[];
let blobs: BlobStore;
let folder: ReturnType<typeof temporaryFolder>;
let transportFails: boolean;
let nowMs = 1_800_000_000_000;

beforeEach(async () => {
  redis = await openRedis(inject('redisUrl'), 'work', () => undefined);
  prefix = `{jobs-${newId('req', 0).slice(-10)}}`;
  folder = temporaryFolder();
  blobs = await openFileBlobs(folder.path, systemClock);
  tickets = [];
  errors = [];
  transportFails = false;
  openCore();
});

/** Opens the core anew on the same records; `changes` are to its configuration. */
function openCore(changes: Partial<Config> = {}): void {
  const transport = {
    add: async (_: string, __: number, ticket: string) => {
      if (transportFails) throw new Error('cut');
      tickets.push(ticket);
    },
    count: async () => tickets.length,
    drop: async () => [],
  };
  const onError = (_: string, error: unknown) => void errors.push(error);
  const config = { ...CONFIG, SLUICE_KEY_PREFIX: prefix, ...changes };
  core = composeCore(config, idleConnections(redis, blobs, { transport, onError }));
  keys = core.keys;
  jobs = core.jobs;
}

afterEach(async () => {
  const left = await redis.keys(`${keys.outbox.replace(/:outbox$/, '')}*`);
  if (left.length > 0) await redis.unlink(left);
  redis.disconnect();
  folder.remove();
});

async function submit(
  traits: Partial<JobSpec> & { ttlSeconds?: number; retentionSeconds?: number; input?: Buffer } = {},
  idempotency?: Idempotency,
): Promise<string> {
  const { ttlSeconds = 60, retentionSeconds, input = Buffer.from('in'), ...rest } = traits;
  const spec: JobSpec = {
    id: newId('job', nowMs++),
    tenant: 'acme',
    model: 'm',
    version: 1,
    alias: null,
    priority: 'standard' as Priority,
    instances: 1,
    timeoutSeconds: 60,
    allowPartial: false,
    metadata: {},
    webhook: { url: 'https://example.com/' },
    retryOf: null,
    ...rest,
  };
  const { record } = await core.jobWriter.write({ spec, ttlSeconds, retentionSeconds, input }, idempotency);
  return record.spec.id;
}

const submitMany = async (count: number, traits = {}) => {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(await submit(traits));
  return ids;
};
const start = (ticket: string, share = SHARE) => startJobs(core, 'm', 1, ticket, share);
const settle = (started: readonly Started[], output: typeof OUTPUT | null = OUTPUT) =>
  settleJobs(
    core,
    'm',
    1,
    started.map((job) => ({ job, end: END, output })),
  );
const idsOf = (started: readonly Started[]) => started.map(({ spec }) => spec.id);
const statusOf = async (id: string) => (await jobs.get('acme', id))?.status;
const eventsOf = async (id: string) =>
  (await redis.xrange(keys.outbox, '-', '+')).filter(([, fields]) => fields.includes(id)).length;
/** As if the ticket that is out had been given out long ago. */
const ageTicket = () => redis.hincrby(keys.queue('m', 1), 'outSince', -TICKET_LOST_MS);

describe('a ticket', () => {
  test('is given out for the first job that waits and not for those after it', async () => {
    await submitMany(5);
    expect(tickets).toEqual(['t1']);
  });

  test('takes what fits, and whoever takes it gives out the next while jobs wait', async () => {
    const ids = await submitMany(6);
    expect(idsOf(await start('t1'))).toEqual(ids.slice(0, 4));
    expect(tickets).toEqual(['t1', 't2']);
    expect(idsOf(await start('t2'))).toEqual(ids.slice(4));
    expect(tickets).toEqual(['t1', 't2']);
    await submit();
    expect(tickets).toEqual(['t1', 't2', 't3']);
  });

  test('takes no more bytes than its share, but always one job', async () => {
    const input = Buffer.alloc(600);
    const [first, second] = await submitMany(2, { input });
    expect(idsOf(await start('t1'))).toEqual([first]);
    expect(idsOf(await start('t2', { maxInstances: 4, maxBytes: 10 }))).toEqual([second]);
  });

  test('takes a job that is larger than a batch, alone', async () => {
    const [large] = await submitMany(2, { instances: 9 });
    expect(idsOf(await start('t1'))).toEqual([large]);
  });

  test('leaves jobs of other versions alone', async () => {
    const other = await submit({ version: 2 });
    expect(await start('t1')).toEqual([]);
    expect(idsOf(await startJobs(core, 'm', 2, 't1', SHARE))).toEqual([other]);
  });

  test('that was lost is handed over again by the next submit, start or look of upkeep', async () => {
    transportFails = true;
    const [first] = await submitMany(3);
    expect(errors).toHaveLength(1);
    transportFails = false;
    // The next submit takes it for lost only after a time.
    await submit();
    expect(tickets).toEqual([]);
    await core.wakeTickets.recall('m', 1);
    expect(tickets).toEqual(['t1']);
    await ageTicket();
    await submit();
    expect(tickets).toEqual(['t1', 't1']);
    await ageTicket();
    expect(idsOf(await start('t9', { ...SHARE, maxInstances: 1 }))).toEqual([first]);
    expect(tickets).toEqual(['t1', 't1', 't1']);
    await start('t1', { ...SHARE, maxInstances: 1 });
    expect(tickets).toEqual(['t1', 't1', 't1', 't2']);
  });

  test('is looked for by upkeep when a queued job is due', async () => {
    transportFails = true;
    const id = await submit();
    transportFails = false;
    await ageTicket();
    await redis.zadd(keys.dueIndex, 0, id);
    expect(await core.dueIndex.tend()).toMatchObject({ looked: 1 });
    expect(tickets).toEqual(['t1']);
    expect(Number(await redis.zscore(keys.dueIndex, id))).toBeGreaterThan(nowMs - 1e12);
  });

  test('that turns up twice finds nothing the second time', async () => {
    await submit();
    const started = await start('t1');
    await settle(started);
    expect(await start('t1')).toEqual([]);
    expect(await start('t99')).toEqual([]);
  });
});

describe('a start', () => {
  test('counts an attempt and takes the job off the queue', async () => {
    const id = await submit();
    await start('t1');
    expect(await jobs.get('acme', id)).toMatchObject({ status: 'running', attempts: 1, ticket: 't1' });
    expect(await redis.hgetall(keys.queued)).toMatchObject({
      'tenant:acme': '0',
      'tenant-bytes:acme': '0',
      'model:m': '0',
      'model-bytes:m': '0',
    });
    expect(await redis.zcard(keys.waiting('m', 1))).toBe(0);
  });

  test('under a ticket that comes again takes over what was left running, without a further attempt', async () => {
    const id = await submit();
    const [old] = await start('t1');
    const [late] = await submitMany(1);
    const again = await start('t1');
    expect(idsOf(again)).toEqual([id, late]);
    expect(await jobs.get('acme', id)).toMatchObject({ status: 'running', attempts: 1 });
    expect(await settle([old as Started])).toEqual(['void']);
    expect(await settle(again)).toEqual(['succeeded', 'succeeded']);
    expect(await eventsOf(id)).toBe(1);
  });

  test('the old hand does not drop what the new one holds', async () => {
    await submit();
    const old = await start('t1');
    await start('t1');
    await settle(old);
    const third = await start('t1');
    expect(third).toHaveLength(1);
    expect(await settle(third)).toEqual(['succeeded']);
    expect(await redis.exists(keys.taken('m', 1, 't1'))).toBe(0);
  });

  test('ends a job that was started ten times', async () => {
    const id = await submit();
    for (let i = 0; i < 10; i++) expect(await start('t1')).toHaveLength(1);
    expect(await start('t1')).toEqual([]);
    const record = await jobs.get('acme', id);
    expect(record).toMatchObject({
      status: 'failed',
      attempts: 1,
      end: { error: { code: 'execution_lost' } },
    });
    expect(await eventsOf(id)).toBe(1);
  });

  test('takes no neighbour along: a job that was left often is started alone', async () => {
    const [killer = '', ...others] = await submitMany(4);
    for (let started = await start('t1'); started.length > 0; started = await start('t1'))
      if (!idsOf(started).includes(killer)) await settle(started);
    expect(await jobs.get('acme', killer)).toMatchObject({
      status: 'failed',
      end: { error: { code: 'execution_lost' } },
    });
    expect(await Promise.all(others.map(statusOf))).toEqual(others.map(() => 'succeeded'));
  });

  test('has nothing beside it while a job that was left often is in hand, and then what waits', async () => {
    const [often = ''] = await submitMany(1);
    for (let i = 0; i < 5; i++) expect(idsOf(await start('t1'))).toEqual([often]);
    const late = await submitMany(2);
    const alone = await start('t1');
    expect(idsOf(alone)).toEqual([often]);
    await settle(alone);
    expect(idsOf(await start('t1'))).toEqual(late);
  });

  test('tells what it ended instead, once, and of callers alone', async () => {
    const told: Unstarted[] = [];
    const startAndTell = (ticket: string) =>
      startJobs(core, 'm', 1, ticket, SHARE, (unstarted) => void told.push(unstarted));
    const overdue = async (traits: Partial<JobSpec> = {}) => {
      const id = await submit(traits);
      await redis.hset(keys.job(id), 'expiresAt', 1);
      await redis.zadd(keys.dueIndex, 0, id);
      return id;
    };
    const copy = { tenant: SHADOW_TENANT, shadowOf: { id: 'job_1', tenant: 'acme' } };
    await overdue();
    await overdue(copy);
    const worn = await submit();
    expect(idsOf(await startAndTell('t1'))).toEqual([worn]);
    await redis.hset(keys.job(worn), 'starts', 10);
    expect(await startAndTell('t1')).toEqual([]);
    expect(told).toEqual([
      { expired: 1, lost: 0 },
      { expired: 0, lost: 1 },
    ]);
    // Upkeep counts what it ends itself, however many tend.
    await overdue();
    await overdue(copy);
    const tended = await Promise.all([core.dueIndex.tend(), core.dueIndex.tend()]);
    expect(tended.reduce((sum, { expired }) => sum + expired, 0)).toBe(1);
  });

  test('expires what is past its deadline instead of taking it', async () => {
    const late = await submit();
    await redis.hset(keys.job(late), 'expiresAt', 1);
    const id = await submit();
    expect(idsOf(await start('t1'))).toEqual([id]);
    expect(await statusOf(late)).toBe('expired');
    expect(await eventsOf(late)).toBe(1);
    expect(await redis.hget(keys.queued, 'model:m')).toBe('0');
  });

  test('of a failure that may go away is followed by another after a pause; the ledger tells', async () => {
    const id = await submit();
    const [job] = await start('t1');
    const end = { error: jobError('unavailable'), usageMs: 1, timings: null };
    const fail = (each: Started) => settleJobs(core, 'm', 1, [{ job: each, end, output: null }]);
    expect(await fail(job as Started)).toEqual(['retried']);
    expect(await jobs.get('acme', id)).toMatchObject({
      status: 'queued',
      attempts: 1,
      history: [{ attempt: 1, error: { code: 'unavailable' } }],
    });
    expect(await redis.hget(keys.queued, 'tenant:acme')).toBe('1');
    expect(await start('t1')).toEqual([]); // pauses
    await redis.zadd(keys.dueIndex, 0, id);
    await core.dueIndex.tend();
    const [second] = await start('t2');
    expect(second).toMatchObject({ attempt: 2, spec: { id } });
    expect(await fail(second as Started)).toEqual(['retried']);
    await redis.zadd(keys.dueIndex, 0, id);
    await core.dueIndex.tend();
    const [third] = await start('t3');
    expect(await fail(third as Started)).toEqual(['failed']);
    expect(await jobs.get('acme', id)).toMatchObject({
      status: 'failed',
      attempts: 3,
      end: { error: { code: 'unavailable' } },
    });
    expect(await eventsOf(id)).toBe(1);
  });

  test('of a failure that will not go away is the last', async () => {
    await submit();
    const [job] = await start('t1');
    const end = { error: jobError('backend_error'), usageMs: 1, timings: null };
    expect(await settleJobs(core, 'm', 1, [{ job: job as Started, end, output: null }])).toEqual(['failed']);
  });

  test('is not made while the model is paused; a resume gives out a ticket', async () => {
    const [first] = await submitMany(2);
    await core.queueStatus.pause('m');
    expect(await start('t1')).toEqual([]);
    const urgent = await submit({ priority: 'interactive' });
    expect(tickets).toEqual(['t1']);
    expect(await core.queueStatus.stateOf('m', [1])).toMatchObject({
      paused: true,
      versions: [{ queued: 3 }],
    });
    const record = await jobs.get('acme', first as string);
    expect(record && (await core.queueStatus.placeOf(record))).toEqual({ position: 1, startsAt: null });
    await core.queueStatus.resume('m', [1]);
    expect(tickets).toEqual(['t1', 't2']);
    expect(idsOf(await start('t2'))[0]).toBe(urgent);
  });

  test('follows priority, then time', async () => {
    const bulk = await submit({ priority: 'bulk' });
    const [first, second] = await submitMany(2);
    const urgent = await submit({ priority: 'interactive' });
    expect(idsOf(await start('t1'))).toEqual([urgent, first, second, bulk]);
  });
});

describe('fairness', () => {
  const tenantsOf = (started: readonly Started[]) => started.map(({ spec }) => spec.tenant);

  const many = IS_LONG ? 100_000 : 10_000;
  test(`a tenant with one job does not wait for another with ${many}`, async () => {
    openCore({ SLUICE_MAX_QUEUED_PER_TENANT: 1e6, SLUICE_MAX_QUEUED_PER_MODEL: 1e6 });
    for (let queued = 0; queued < many; queued += 2000) await submitMany(2000, { tenant: 'big' });
    expect(tenantsOf(await start('t1'))).toEqual(['big', 'big', 'big', 'big']);
    await submit({ tenant: 'small' });
    expect(tenantsOf(await start('t2'))).toContain('small');
  }, 120_000);

  test('tenants share a busy queue by weight: within 10 % over 1,000 batches', async () => {
    const counts: Record<string, number> = { heavy: 0, light: 0 };
    const top = async (tenant: string) => submitMany(40, { tenant, input: Buffer.alloc(1) });
    for (let batch = 0; batch < 1000; batch++) {
      // Both always have jobs waiting.
      if (batch % 10 === 0) await Promise.all([top('heavy'), top('light')]);
      const started = await start(`b${batch}`);
      expect(started).toHaveLength(4);
      for (const tenant of tenantsOf(started)) counts[tenant] = (counts[tenant] ?? 0) + 1;
      await settle(started);
    }
    expect((counts.heavy ?? 0) / 4000).toBeGreaterThan(0.75 * 0.9);
    expect((counts.heavy ?? 0) / 4000).toBeLessThan(0.75 * 1.1);
  }, 60_000);

  test('who was away does not save up a share', async () => {
    for (let batch = 0; batch < 50; batch++) {
      await submitMany(4, { tenant: 'busy' });
      await settle(await start(`a${batch}`));
    }
    await submitMany(100, { tenant: 'busy' });
    await submitMany(100, { tenant: 'late' });
    const tenants = tenantsOf(await start('x', { maxInstances: 60, maxBytes: 1e9 }));
    expect(tenants.filter((tenant) => tenant === 'late').length).toBeLessThanOrEqual(32);
  });

  test('a job that has waited for long goes before its priority', async () => {
    const bulk = await submit({ priority: 'bulk', tenant: 'patient' });
    await submitMany(20, { priority: 'interactive' });
    await redis.hset(keys.job(bulk), 'createdAt', 1);
    await redis.zadd(keys.dueIndex, 0, bulk);
    await core.dueIndex.tend();
    expect(idsOf(await start('t1'))).toContain(bulk);
  });
});

describe('a full queue', () => {
  const refusal = (promise: Promise<unknown>) =>
    promise.then(
      () => null,
      (error: SluiceError) => error,
    );

  test('refuses by count and by bytes, a tenant with 429 and a model with 503', async () => {
    const small = {
      SLUICE_MAX_QUEUED_PER_TENANT: 2,
      SLUICE_MAX_QUEUED_PER_MODEL: 3,
      SLUICE_MAX_QUEUED_BYTES_PER_TENANT: 100,
    };
    openCore(small);
    expect(await refusal(submit({ input: Buffer.alloc(101) }))).toMatchObject({
      code: 'queue_full_for_tenant',
    });
    await submitMany(2);
    expect(await refusal(submit())).toMatchObject({ code: 'queue_full_for_tenant', status: 429 });
    await submit({ tenant: 'other' });
    expect(await refusal(submit({ tenant: 'third' }))).toMatchObject({ code: 'queue_full', status: 503 });
  });

  test('says when to come back from the measured rate of starting', async () => {
    const small = { SLUICE_MAX_QUEUED_PER_TENANT: 1000 };
    openCore(small);
    await submitMany(1000);
    await start('t1');
    // Four jobs each 100 ms of Redis' clock, as if time passed between two starts: 40 a second.
    for (let batch = 0; batch < 100; batch++) {
      await redis.hincrby(keys.queue('m', 1), 'measuredAt', -100);
      await start(`s${batch}`);
    }
    await submitMany(404);
    const error = await refusal(submit());
    // A tenth of 1,000 at 40 a second.
    expect(error?.retryAfterSeconds).toBeGreaterThanOrEqual(2);
    expect(error?.retryAfterSeconds).toBeLessThanOrEqual(3);
  });
});

describe('an end', () => {
  test('is one, whoever comes first: 1,000 races of a worker and a canceller', async () => {
    const ids = await submitMany(1000);
    const share = { maxInstances: 1000, maxBytes: 1e9 };
    const started = await start('t1', share);
    expect(started).toHaveLength(1000);
    const outcomes = await Promise.all(
      started.map(async (job, i) => {
        // A cancel takes two round trips; the result comes none to three after its beginning.
        const late = async () => {
          for (let trips = (i * 7919) % 4; trips > 0; trips--) await redis.ping();
          const [settled] = await settle([job]);
          return settled === 'succeeded';
        };
        const canceled = jobs.cancel('acme', job.spec.id).then(
          () => true,
          (error: SluiceError) => (error.code === 'job_finished' ? false : Promise.reject(error)),
        );
        return Promise.all([late(), canceled]);
      }),
    );
    const wins = outcomes.filter(([settled]) => settled).length;
    expect(wins).toBeGreaterThan(100);
    expect(wins).toBeLessThan(900);
    for (const [i, [settled, canceled]] of outcomes.entries()) {
      expect([settled, canceled].filter(Boolean)).toHaveLength(1);
      expect(await statusOf(ids[i] as string)).toBe(settled ? 'succeeded' : 'canceled');
    }
    expect(await redis.xlen(keys.outbox)).toBe(1000);
  });

  test('never changes: not by a result, a cancel or a deadline', async () => {
    const id = await submit();
    const started = await start('t1');
    expect(await settle(started)).toEqual(['succeeded']);
    expect(await settle(started, null)).toEqual(['void']);
    await expect(jobs.cancel('acme', id)).rejects.toMatchObject({ code: 'job_finished' });
    const record = await jobs.get('acme', id);
    if (record) await jobs.expire(record);
    expect(await statusOf(id)).toBe('succeeded');
    expect(await eventsOf(id)).toBe(1);
  });

  test('stands when the submit is sent to Redis once more, as its client does after a lost answer', async () => {
    const id = await submit({ id: newId('job', nowMs++) });
    const createdAt = await redis.hget(keys.job(id), 'createdAt');
    await settle(await start('t1'));
    await submit({ id });
    expect(await statusOf(id)).toBe('succeeded');
    expect(await redis.hget(keys.job(id), 'createdAt')).toBe(createdAt);
    expect(await redis.zcard(keys.waiting('m', 1))).toBe(0);
    expect(Number(await redis.hget(keys.queued, 'tenant:acme'))).toBe(0);
  });

  test('of many at once is told for each', async () => {
    const ids = await submitMany(3);
    const started = await start('t1');
    await jobs.cancel('acme', ids[1] as string);
    expect(await settle(started)).toEqual(['succeeded', 'void', 'succeeded']);
    expect(await redis.exists(keys.taken('m', 1, 't1'))).toBe(0);
  });

  test('by a cancel makes room in the queue at once', async () => {
    const [id] = await submitMany(2);
    await jobs.cancel('acme', id as string);
    expect(await redis.hget(keys.queued, 'tenant:acme')).toBe('1');
    expect(await start('t1')).toHaveLength(1);
  });
});

describe('what is published', () => {
  /** [channel, ids] in the order in which they came. */
  async function listen(): Promise<{ heard: [string, string[]][]; stop: () => void }> {
    const listener = await openRedis(inject('redisUrl'), 'listen', () => undefined);
    const heard: [string, string[]][] = [];
    const names = new Map([
      [keys.ended, 'ended'],
      [keys.changed, 'changed'],
    ]);
    listener.on('message', (channel, ids: string) =>
      heard.push([names.get(channel) ?? '', ids.split(' ').sort()]),
    );
    await listener.subscribe(keys.ended, keys.changed);
    return { heard, stop: () => listener.disconnect() };
  }

  test('of a start is one message; of another attempt it is no end', async () => {
    const { heard, stop } = await listen();
    const ids = await submitMany(3);
    const started = await start('t1');
    await start('t2'); // Nothing to start, nothing to say.
    const [job, ...others] = started as [Started, ...Started[]];
    const end = { error: jobError('unavailable'), usageMs: 1, timings: null };
    await settleJobs(core, 'm', 1, [{ job, end, output: null }]);
    await settle(others);
    await expect
      .poll(() => heard)
      .toEqual([
        ['changed', ids],
        ['changed', [ids[0]]],
        ['ended', ids.slice(1)],
      ]);
    stop();
  });

  test('of progress is that of the newest execution, while it runs', async () => {
    const { heard, stop } = await listen();
    const id = await submit();
    const [old] = (await start('t1')) as [Started];
    const progress = async () => (await jobs.get('acme', id))?.progress;
    expect(await progress()).toBeNull();
    expect(await core.executions.report(old, { done: 4, total: 8 })).toBe(true);
    expect(await progress()).toEqual({ done: 4, total: 8 });
    const [newer] = (await start('t1')) as [Started];
    expect(await progress()).toBeNull();
    expect(await core.executions.report(old, { done: 8, total: 8 })).toBe(false);
    expect(await progress()).toBeNull();
    expect(await core.executions.report(newer, { done: 0, total: 8 })).toBe(true);
    await settle([newer]);
    expect(await progress()).toBeNull();
    expect(await core.executions.report(newer, { done: 8, total: 8 })).toBe(false);
    await jobs.erase('acme', id);
    expect(await core.executions.report(newer, { done: 8, total: 8 })).toBe(false);
    expect(await redis.exists(keys.job(id))).toBe(0);
    await expect
      .poll(() => heard.map(([what]) => what))
      .toEqual(['changed', 'changed', 'changed', 'changed', 'ended']);
    stop();
  });
});

test('a job is kept as long as it asks, or its tenant, or all', async () => {
  openCore({ SLUICE_TENANT_RETENTION_SECONDS: 'brief=100' });
  const keptFor = async (traits: Parameters<typeof submit>[0]) => {
    const id = await submit(traits);
    const record = await jobs.cancel(traits?.tenant ?? 'acme', id);
    return Number(record.deletedAfter) - Number(record.finishedAt);
  };
  expect(await keptFor({ tenant: 'brief', retentionSeconds: 7 })).toBe(7000);
  expect(await keptFor({ tenant: 'brief' })).toBe(100_000);
  expect(await keptFor({})).toBe(CONFIG.SLUICE_RETENTION_SECONDS * 1000);
});

describe('a large payload', () => {
  const LARGE = Buffer.alloc(MAX_INLINE_BYTES + 1, 7);
  const blobKeys = async () => {
    const found: string[] = [];
    for await (const { key } of blobs.list('')) found.push(key);
    return found.sort();
  };

  test('lies in the blob store from submit to result, and goes with the job', async () => {
    const id = await submit({ input: LARGE });
    expect(await redis.hstrlen(keys.job(id), 'input')).toBe(0);
    expect(await redis.hget(keys.queued, 'tenant-bytes:acme')).toBe(String(LARGE.length));
    const [job] = (await start('t1')) as [Started];
    expect(await core.payloads.load(job.input)).toEqual(LARGE);
    const output = await core.payloads.storeOutput(id, job.token, LARGE);
    expect(await settleJobs(core, 'm', 1, [{ job, end: END, output }])).toEqual(['succeeded']);
    expect((await jobs.getWithOutput('acme', id))?.output).toEqual(LARGE);
    expect((await jobs.endedInput('acme', id)).input).toEqual(LARGE);
    expect(await blobKeys()).toEqual([`jobs/${id}/input`, `jobs/${id}/output-1`]);
    await jobs.erase('acme', id);
    expect(await blobKeys()).toEqual([]);
  });

  test('costs Redis no more than a record: 10,000 of 1 MiB less than 50 MiB', async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => submit({ input: Buffer.alloc(1024 ** 2) })),
    );
    for (const id of ids) {
      expect(await redis.memory('USAGE', keys.job(id))).toBeLessThan((50 * 1024 ** 2) / 10_000);
    }
  });

  test('goes when the retention of its job is over', async () => {
    const id = await submit({ input: LARGE });
    await jobs.cancel('acme', id);
    await redis.hset(keys.job(id), 'deletedAfter', 1);
    await redis.zadd(keys.dueIndex, 0, id);
    expect(await core.dueIndex.tend()).toMatchObject({ forgotten: 1 });
    expect(await blobKeys()).toEqual([]);
  });

  test('of a submit that was refused does not stay', async () => {
    const small = { SLUICE_MAX_QUEUED_PER_TENANT: 1 };
    openCore(small);
    await submit();
    await expect(submit({ input: LARGE })).rejects.toMatchObject({ code: 'queue_full_for_tenant' });
    expect(await blobKeys()).toEqual([]);
  });

  test('without a job is swept when it is old', async () => {
    const id = await submit({ input: LARGE });
    await blobs.put('jobs/job_lost/input', LARGE);
    expect(await core.dueIndex.sweep()).toBe(0); // young
    blobs = agedBlobs(blobs, ORPHAN_AGE_MS + 1000);
    openCore();
    expect(await core.dueIndex.sweep()).toBe(1);
    expect(await blobKeys()).toEqual([`jobs/${id}/input`]);
  });
});

test('a script that Redis has forgotten is sent again', async () => {
  await submit();
  await redis.script('FLUSH');
  const id = await submit();
  await redis.script('FLUSH');
  expect(idsOf(await start('t1'))).toContain(id);
  await redis.script('FLUSH');
  await jobs.cancel('acme', id);
  expect(await statusOf(id)).toBe('canceled');
});

describe('the key of a job that is gone', () => {
  const KEY: Idempotency = { route: 'jobs', key: 'order-42', fingerprint: 'body' };

  test('makes another, once, for whatever body', async () => {
    const first = await submit({}, KEY);
    expect(await submit({}, KEY)).toBe(first);
    await jobs.cancel('acme', first);
    await jobs.erase('acme', first);
    const another = { ...KEY, fingerprint: 'another body' };
    const ids = await Promise.all(Array.from({ length: 10 }, () => submit({}, another)));
    expect(new Set(ids).size).toBe(1);
    expect(ids).not.toContain(first);
    await expect(submit({}, KEY)).rejects.toMatchObject({ code: 'idempotency_key_reused' });
  });

  test('makes none if the key holds', async () => {
    const holding = { ...KEY, holds: true };
    const id = await submit({}, holding);
    await jobs.cancel('acme', id);
    await jobs.erase('acme', id);
    await expect(submit({}, holding)).rejects.toMatchObject({ code: 'not_found' });
  });
});

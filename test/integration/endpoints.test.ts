/**
 * Endpoints of tenants: which events they receive, when they are disabled, and what happens to their deliveries then.
 */
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { CreateEndpoint, Endpoint } from '../../shared/contract/webhooks/endpoint.js';
import { type DeliveryBench, eventually, openDeliveryBench, SOON } from '../support/delivery-bench.js';
import { answer, type Received, type Receiver } from '../support/receiver.js';
import { startJobs } from '../support/turns.js';

const ALL = ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired'] as const;

let bench: DeliveryBench;
beforeEach(async () => {
  bench = await openDeliveryBench(inject('redisUrl'));
});
afterEach(() => bench.close());

async function register(body: CreateEndpoint, tenant = 'acme'): Promise<Endpoint> {
  return (await bench.endpoints.create(tenant, body)).endpoint;
}

const bodies = ({ received }: Receiver) => received.map(({ body }) => JSON.parse(body));
const typesAt = (receiver: Receiver) =>
  bodies(receiver)
    .map(({ type }) => type)
    .sort();
const stateOf = async ({ id }: Endpoint) => (await bench.endpoints.find(id)) as Endpoint;

function verifies({ secrets }: Endpoint, { body, headers }: Received, which = 0): boolean {
  try {
    new Webhook(secrets[which]?.secret ?? '').verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

/** Resolves when nothing is under way any more. */
const settled = () =>
  eventually(async () => {
    expect(await bench.outbox()).toEqual([]);
    expect(await bench.deliveries.pending()).toBe(0);
  });

describe('an endpoint is told', () => {
  test('each end of its tenant once, signed with its own secret, beside the webhook of the job', async () => {
    const [ours, own, others] = [
      await bench.receive(answer(204)),
      await bench.receive(answer(204)),
      await bench.receive(answer(204)),
    ];
    const endpoint = await register({ url: ours.url });
    await register({ url: others.url }, 'other');
    const told = await bench.succeeded({ url: own.url });
    const plain = await bench.succeeded(null);
    const canceled = await bench.submitted(null);
    await bench.jobs.cancel('acme', canceled.id);
    await bench.deliver();
    await settled();

    expect(
      bodies(ours)
        .map(({ type, data }) => `${type} ${data.id}`)
        .sort(),
    ).toEqual(
      [`job.succeeded ${told.id}`, `job.succeeded ${plain.id}`, `job.canceled ${canceled.id}`].sort(),
    );
    expect(ours.received.every((each) => verifies(endpoint, each))).toBe(true);
    expect(bodies(own).map(({ data }) => data.id)).toEqual([told.id]);
    const ids = [...ours.received, ...own.received].map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids).size).toBe(4);
    expect(others.received).toEqual([]);
  });

  test('what it subscribed to, with predictions where it asked for them', async () => {
    const [failures, full] = [await bench.receive(answer(204)), await bench.receive(answer(204))];
    await register({ url: failures.url, events: ['job.failed'] });
    await register({ url: full.url, events: ['job.succeeded'], includePredictions: true });
    await bench.succeeded(null);
    const canceled = await bench.submitted(null);
    await bench.jobs.cancel('acme', canceled.id);
    expect((await bench.outbox()).map(({ type }) => type)).toEqual(['job.succeeded']);
    await bench.deliver();
    await full.has(1);
    await settled();
    expect(bodies(full)[0].data.predictions).toEqual([[0.5, 1], null]);
    expect(failures.received).toEqual([]);
  });

  test('nothing of what was before it, nor of lines of a batch, nor after it is deleted', async () => {
    const receiver = await bench.receive(answer(204));
    const early = await register({ url: receiver.url });
    await bench.succeeded(null);
    await bench.endpoints.remove('acme', early.id);
    await bench.succeeded(null);
    expect(await bench.outbox()).toHaveLength(1);
    const late = await register({ url: receiver.url });
    await bench.redis.hset(bench.keys.endpoint(late.id), 'createdAt', late.createdAt + 1);
    await bench.succeeded(null, undefined, { untold: true });
    await bench.deliver();
    await settled();
    expect(receiver.received).toEqual([]);
  });

  test('how a job is getting on, where it asks, at most every five seconds and not once it has ended', async () => {
    const receiver = await bench.receive(answer(204));
    await register({ url: receiver.url, events: ['job.started', 'job.progress'] });
    const spec = await bench.submitted(null);
    const [job] = await startJobs(bench, 'm', 1, 't-1', { maxInstances: 10, maxBytes: 1e9 });
    for (let done = 1; done <= 3; done++) await bench.executions.report(job as never, { done, total: 4 });
    await bench.succeeded(null);
    const events = await bench.outbox();
    expect(events.map(({ type }) => type)).toEqual(['job.started', 'job.progress', 'job.started']);
    await bench.deliver();
    await receiver.has(2);
    expect(typesAt(receiver)).toEqual(['job.progress', 'job.started']);
    expect(bodies(receiver).map(({ data }) => [data.id, data.status])).toEqual([
      [spec.id, 'running'],
      [spec.id, 'running'],
    ]);
    await settled();
    expect(receiver.received).toHaveLength(2);
  });

  test('what became of versions of models', async () => {
    const receiver = await bench.receive(answer(204));
    await register({ url: receiver.url });
    const manifest = { name: 'digits', version: 1, files: {} } as never;
    await bench.models.add({ manifest, sizeBytes: 1 }, 'mdl_1');
    await bench.models.report('digits', 1, 'failed', { error: 'a reason' });
    await bench.models.report('digits', 1, 'failed', { error: 'a reason' });
    // A worker that lacks the backend knows nothing against what another found; one that tries the version does.
    await bench.models.report('digits', 1, 'pending', { error: 'not here', waitingFor: 'backend' });
    const [version] = (await bench.models.find('digits'))?.versions ?? [];
    expect(version).toMatchObject({ state: 'failed', error: 'a reason' });
    // It may have looked at the files before it knew that.
    await bench.models.report('digits', 1, 'loading', { waitingFor: 'checks' });
    await bench.models.report('digits', 1, 'pending', { error: 'not here', waitingFor: 'backend' });
    const [again] = (await bench.models.find('digits'))?.versions ?? [];
    expect(again).toMatchObject({ state: 'failed', error: 'a reason' });
    await bench.models.report('digits', 1, 'loading');
    await bench.models.report('digits', 1, 'failed', { error: 'a reason' });
    await bench.models.report('digits', 1, 'ready', { backend: 'wasm' });
    await bench.models.report('digits', 1, 'loading');
    await bench.models.report('digits', 1, 'ready', { backend: 'wasm' });
    expect((await bench.outbox()).map(({ type }) => type)).toEqual([
      'model.version.failed',
      'model.version.ready',
    ]);
    await bench.deliver();
    await receiver.has(2);
    expect(bodies(receiver).map(({ data }) => [data.model, data.version])).toEqual([
      ['digits', 1],
      ['digits', 1],
    ]);
  });
});

describe('an endpoint that is not enabled', () => {
  test('is told when it is enabled again, all that was held', async () => {
    const receiver = await bench.receive(answer(204));
    const endpoint = await register({ url: receiver.url });
    await bench.endpoints.change('acme', endpoint.id, { enabled: false });
    expect(await stateOf(endpoint)).toMatchObject({ enabled: false, disabledReason: 'paused' });
    const specs = await Promise.all(Array.from({ length: 5 }, () => bench.succeeded(null)));
    await bench.deliver();
    await eventually(async () => expect(await bench.redis.scard(bench.keys.held(endpoint.id))).toBe(5));
    await settled();
    expect(receiver.received).toEqual([]);

    await bench.endpoints.change('acme', endpoint.id, { enabled: true });
    await receiver.has(5);
    expect(
      bodies(receiver)
        .map(({ data }) => data.id)
        .sort(),
    ).toEqual(specs.map(({ id }) => id).sort());
    expect(await stateOf(endpoint)).toMatchObject({ enabled: true, disabledReason: null, disabledAt: null });
    expect(await bench.redis.exists(bench.keys.releasing)).toBe(0);
  });

  test('is disabled by failing for long, others are told, and nothing is lost', async () => {
    const broken = await bench.receive((response, nth) => void response.writeHead(nth < 9 ? 500 : 204).end());
    const watching = await bench.receive(answer(204));
    const endpoint = await register({ url: broken.url, events: [...ALL] });
    await register({ url: watching.url, events: ['endpoint.disabled'] });
    const schedule = { ...SOON, delaysMs: [30, 60_000], disableAfterMs: 20 };
    await bench.deliver({ schedule });
    const first = await bench.succeeded(null);
    await watching.has(1);
    expect(bodies(watching)[0]).toMatchObject({
      type: 'endpoint.disabled',
      data: { id: endpoint.id, enabled: false, disabledReason: 'failing' },
    });
    expect(watching.received[0]?.body).not.toContain('whsec_');

    const second = await bench.succeeded(null);
    await eventually(async () => expect(await bench.redis.scard(bench.keys.held(endpoint.id))).toBe(1));
    expect(broken.received.map(({ body }) => JSON.parse(body).data.id)).toEqual([first.id, first.id]);
    await bench.endpoints.change('acme', endpoint.id, { enabled: true });
    await broken.has(3);
    expect(bodies(broken)[2].data.id).toBe(second.id);
    await eventually(async () => expect((await stateOf(endpoint)).failingSince).toBeGreaterThan(0));
  });

  test('does not come of failures with a success between them', async () => {
    const receiver = await bench.receive(
      (response, nth) => void response.writeHead(nth === 1 ? 500 : 204).end(),
    );
    const endpoint = await register({ url: receiver.url });
    await bench.deliver({ schedule: { ...SOON, disableAfterMs: 1 } });
    await bench.succeeded(null);
    await receiver.has(2);
    await eventually(async () => expect((await stateOf(endpoint)).lastSuccessAt).not.toBeNull());
    expect(await stateOf(endpoint)).toMatchObject({ enabled: true, failingSince: null });
  });

  test('does not come of two failures with days of silence between them', async () => {
    const receiver = await bench.receive(answer(500));
    const endpoint = await register({ url: receiver.url });
    const key = bench.keys.endpoint(endpoint.id);
    const monthsAgo = Date.now() - 60 * 86_400_000;
    await bench.redis.hset(key, { failingSince: monthsAgo, lastFailureAt: monthsAgo });
    await bench.deliver({ schedule: { ...SOON, delaysMs: [], disableAfterMs: 120 * 3_600_000 } });
    await bench.succeeded(null);
    await receiver.has(1);
    await eventually(async () => expect((await stateOf(endpoint)).failingSince).toBeGreaterThan(monthsAgo));
    expect(await stateOf(endpoint)).toMatchObject({ enabled: true });

    await bench.redis.hset(key, { failingSince: monthsAgo, lastFailureAt: Date.now() - 71 * 3_600_000 });
    await bench.succeeded(null);
    await eventually(async () =>
      expect(await stateOf(endpoint)).toMatchObject({ enabled: false, disabledReason: 'failing' }),
    );
  });

  test('comes of an answer 410 at once', async () => {
    const receiver = await bench.receive(answer(410));
    const endpoint = await register({ url: receiver.url });
    const { registry } = await bench.deliver();
    await bench.succeeded(null);
    await eventually(async () =>
      expect(await stateOf(endpoint)).toMatchObject({ enabled: false, disabledReason: 'gone' }),
    );
    expect(receiver.received).toHaveLength(1);
    await eventually(async () =>
      expect(await registry.metrics()).toContain('sluice_webhook_endpoints_disabled_total{reason="gone"} 1'),
    );
  });

  test('can be tried out: a test event is one attempt, enabled or not, subscribed or not', async () => {
    const receiver = await bench.receive(answer(500));
    const endpoint = await register({ url: receiver.url, enabled: false, events: ['job.failed'] });
    await bench.deliver();
    const id = await bench.fanOut.test(endpoint, 'evt_1', Date.now());
    await eventually(async () =>
      expect(await bench.deliveries.get(id)).toMatchObject({ status: 'failed', attempts: 1 }),
    );
    expect(bodies(receiver)).toMatchObject([{ type: 'endpoint.test', data: { id: endpoint.id } }]);
    expect(verifies(endpoint, receiver.received[0] as Received)).toBe(true);
  });
});

describe('a secret that is rotated', () => {
  test('signs beside the new one through retries, until a day has passed', async () => {
    const receiver = await bench.receive(
      (response, nth) => void response.writeHead(nth < 3 ? 500 : 204).end(),
    );
    const endpoint = await register({ url: receiver.url });
    await bench.deliver({ schedule: { ...SOON, delaysMs: [300, 300] } });
    await bench.succeeded(null);
    await receiver.has(1);
    const rotated = await bench.endpoints.rotate('acme', endpoint.id);
    const again = await bench.endpoints.rotate('acme', endpoint.id);
    expect(again.secrets.map(({ untilMs }) => untilMs === null)).toEqual([true, false, false]);
    await receiver.has(3);
    const [first, ...later] = receiver.received as [Received, Received, Received];
    expect(verifies(endpoint, first)).toBe(true);
    for (const each of later) {
      expect(verifies(endpoint, each)).toBe(true);
      expect(verifies(rotated, each)).toBe(true);
      expect(verifies(again, each)).toBe(true);
    }
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);

    const past = again.secrets.map((each) => (each.untilMs ? { ...each, untilMs: 1 } : each));
    await bench.redis.hset(bench.keys.endpoint(endpoint.id), 'secrets', JSON.stringify(past));
    await bench.succeeded(null);
    await receiver.has(4);
    const last = receiver.received[3] as Received;
    expect([verifies(endpoint, last), verifies(rotated, last), verifies(again, last)]).toEqual([
      false,
      false,
      true,
    ]);
  });

  test('rotated by many at once, each new one stands or overlaps', async () => {
    const { endpoints } = bench;
    const endpoint = await register({ url: 'http://127.0.0.1:1/' });
    const rotated = await Promise.all([1, 2, 3].map(() => endpoints.rotate('acme', endpoint.id)));
    const { secrets } = await stateOf(endpoint);
    expect(secrets).toHaveLength(4);
    for (const each of rotated)
      expect(secrets.map(({ secret }) => secret)).toContain(each.secrets[0]?.secret);
  });

  test("a tenant's own, which was a plain secret before it could be rotated", async () => {
    await bench.redis.set(bench.keys.signingSecret('acme'), 'whsec_b2xk');
    expect(await bench.endpoints.tenantSecrets('acme')).toEqual(['whsec_b2xk']);
    const rotated = await bench.endpoints.rotateTenant('acme');
    expect(rotated).toHaveLength(2);
    expect(rotated[1]).toBe('whsec_b2xk');
    expect(await bench.endpoints.tenantSecrets('acme')).toEqual(rotated);
  });
});

describe('the registry', () => {
  test('hides endpoints from other tenants, and bounds them', async () => {
    const { endpoints } = bench;
    const url = 'http://127.0.0.1:1/';
    const endpoint = await register({ url });
    const hidden = { code: 'not_found' };
    await expect(endpoints.demand('other', endpoint.id)).rejects.toMatchObject(hidden);
    await expect(endpoints.change('other', endpoint.id, { enabled: false })).rejects.toMatchObject(hidden);
    await expect(endpoints.rotate('other', endpoint.id)).rejects.toMatchObject(hidden);
    await expect(endpoints.remove('other', endpoint.id)).rejects.toMatchObject(hidden);
    expect(await endpoints.list('other')).toEqual([]);
    for (let i = 1; i < 20; i++) await register({ url });
    await expect(register({ url })).rejects.toMatchObject({ code: 'too_many_endpoints' });
    await endpoints.remove('acme', endpoint.id);
    await register({ url });
    expect(await endpoints.list('acme')).toHaveLength(20);
  });

  test('tells who ends a job what is wanted, as endpoints come, change and go', async () => {
    const wanted = () => bench.redis.hget(bench.keys.subscribed, 'acme');
    const url = 'http://127.0.0.1:1/';
    expect(await wanted()).toBeNull();
    const one = await register({ url, events: ['job.failed'] });
    const other = await register({ url, events: ['job.failed', 'job.expired'] });
    expect(await wanted()).toBe(',job.expired,job.failed,');
    await bench.endpoints.change('acme', other.id, { events: ['job.started'] });
    expect(await wanted()).toBe(',job.failed,job.started,');
    await bench.endpoints.remove('acme', one.id);
    expect(await wanted()).toBe(',job.started,');
    await bench.endpoints.remove('acme', other.id);
    expect(await wanted()).toBeNull();
  });
});

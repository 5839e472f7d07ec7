/**
 * From the end of a job to its receiver, on a real Redis and real sockets.
 */
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { jobError } from '../../shared/contract/job.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import {
  type DeliveryBench,
  deliveryIdOf,
  eventually,
  openDeliveryBench,
} from '../support/delivery-bench.js';
import { answer } from '../support/receiver.js';

let bench: DeliveryBench;
beforeEach(async () => {
  bench = await openDeliveryBench(inject('redisUrl'));
});
afterEach(() => bench.close());

const endsAs = (id: string, status: string, attempts: number) =>
  eventually(async () => expect(await bench.deliveries.get(id)).toMatchObject({ status, attempts }));

describe('a delivery', () => {
  test('reaches its receiver signed, again after a failure, with the same id and body', async () => {
    const receiver = await bench.receive((response, nth) => {
      response.writeHead(nth === 1 ? 500 : 200).end('x');
    });
    const spec = await bench.succeeded({ url: receiver.url, includePredictions: true });
    const id = deliveryIdOf((await bench.outbox())[0]);
    const { registry } = await bench.deliver();
    await endsAs(id, 'delivered', 2);

    const verifier = new Webhook((await bench.endpoints.tenantSecrets('acme'))[0] ?? '');
    expect(receiver.received).toHaveLength(2);
    for (const { body, headers } of receiver.received) {
      expect(headers['webhook-id']).toBe(id);
      const told = verifier.verify(body, headers) as { type: string; timestamp: string; data: object };
      expect(told.type).toBe('job.succeeded');
      expect(told.timestamp).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      expect(told.data).toMatchObject({ id: spec.id, status: 'succeeded', metadata: { order: '42' } });
      expect(told.data).toHaveProperty('predictions', [[0.5, 1], null]);
    }
    expect(receiver.received[1]?.body).toBe(receiver.received[0]?.body);
    await eventually(async () => expect(await bench.outbox()).toEqual([]));
    await eventually(async () => {
      const metrics = await registry.metrics();
      expect(metrics).toContain('sluice_webhook_attempts_total{outcome="retried"} 1');
      expect(metrics).toContain('sluice_webhook_attempts_total{outcome="delivered"} 1');
      expect(metrics).toContain('sluice_webhook_delivery_seconds_count 1');
    });
  });

  test('is thin unless asked otherwise, and tells only what was subscribed to', async () => {
    const receiver = await bench.receive(answer(204));
    await bench.succeeded({ url: receiver.url, events: ['job.failed'] });
    const canceled = await bench.submitted({ url: receiver.url });
    await bench.jobs.cancel('acme', canceled.id);
    await bench.succeeded({ url: receiver.url });
    expect(await bench.outbox()).toHaveLength(2);
    await bench.deliver();
    await receiver.has(2);
    const told = receiver.received.map(({ body }) => JSON.parse(body));
    expect(told.map(({ type }) => type).sort()).toEqual(['job.canceled', 'job.succeeded']);
    for (const { data } of told) expect(data).not.toHaveProperty('predictions');
  });

  test('leaves predictions out where their JSON takes more than 20 kB', async () => {
    const receiver = await bench.receive(answer(204));
    const outputOf = (size: number) =>
      packInstances([
        { y: { dtype: 'uint8', shape: [size], data: new Uint8Array(size) } },
        {
          y: { dtype: 'uint8', shape: [1], data: new Uint8Array(1) },
          z: { dtype: 'int32', shape: [], data: new Uint8Array(4) },
        },
      ]);
    const rest = '[[],{"y":[0],"z":0}]'.length;
    // A list of n zeros takes 2n - 1 characters.
    const most = Math.floor((20_000 - rest + 1) / 2);
    for (const size of [most, most + 1, 300_000])
      await bench.succeeded({ url: receiver.url, includePredictions: true }, outputOf(size));
    await bench.deliver();
    await receiver.has(3);
    const told = receiver.received.map(({ body }) => JSON.parse(body).data);
    const [withThem, ...without] = told.sort(
      (a, b) => Number('predictions' in b) - Number('predictions' in a),
    );
    expect(withThem.predictions[0]).toHaveLength(most);
    expect(withThem.predictions[1]).toEqual({ y: [0], z: 0 });
    for (const data of without) expect(data).not.toHaveProperty('predictions');
    // A receiver that asked is told, so that it does not take them for none.
    expect(without.map(({ predictionsOmitted }) => predictionsOmitted)).toEqual([true, true]);
    expect(withThem).not.toHaveProperty('predictionsOmitted');
  });

  test('bounds a body however large its job is, and says what it leaves out', async () => {
    const receiver = await bench.receive(answer(204));
    const instanceErrors = Array.from({ length: 1024 }, (_, index) => ({
      index,
      code: 'invalid_image' as const,
      message: '\u0001'.repeat(5000),
    }));
    const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`key${i}`, '😀'.repeat(256)]));
    const error = jobError('instances_failed', undefined, instanceErrors);
    await bench.succeeded({ url: receiver.url, includePredictions: true }, undefined, { metadata }, error);
    await bench.deliver();
    await receiver.has(1);
    const [{ body } = { body: '' }] = receiver.received;
    const { data } = JSON.parse(body);
    expect(data.error.instanceErrors).toHaveLength(100);
    expect(data.error.instanceErrorsOmitted).toBe(924);
    expect(data.metadata).toEqual(metadata);
    expect(Buffer.byteLength(body)).toBeLessThan(1_000_000);
  });

  test.each([
    ['410 ends it', answer(410), 1],
    ['a redirect is a failure, until the schedule runs out', answer(307, { location: '/' }), 3],
  ])('%s', async (_, respond, attempts) => {
    const receiver = await bench.receive(respond);
    await bench.succeeded({ url: receiver.url });
    const id = deliveryIdOf((await bench.outbox())[0]);
    await bench.deliver();
    await endsAs(id, 'failed', attempts);
    expect(receiver.received).toHaveLength(attempts);
    await eventually(async () => expect(await bench.queue.getJobCountByTypes()).toBe(0));
  });

  test('does not go where the operator does not allow it', async () => {
    const trap = await bench.receive(answer(200));
    await bench.succeeded({ url: trap.url });
    const id = deliveryIdOf((await bench.outbox())[0]);
    await bench.deliver({ allowed: '' });
    await endsAs(id, 'failed', 3);
    expect((await bench.deliveries.attemptsOf(id)).at(-1)).toMatchObject({
      status: null,
      error: 'the host has an address that may not be called',
    });
    expect(trap.connections()).toBe(0);
  });
});

test('a tenant has one signing secret, whoever asks first', async () => {
  const { endpoints } = bench;
  const asked = await Promise.all(Array.from({ length: 20 }, () => endpoints.tenantSecrets('acme')));
  expect(new Set(asked.flat()).size).toBe(1);
  expect(asked[0]?.[0]).toMatch(/^whsec_/);
  expect(await endpoints.tenantSecrets('other')).not.toEqual(asked[0]);
});

test('registration refuses a URL with the place of the fault', () => {
  const check = (url: string) => () => bench.endpoints.checkUrl(url, '/webhook/url');
  expect(check('http://127.0.0.1:9/')).not.toThrow();
  expect(check('http://10.0.0.1/')).toThrow(
    expect.objectContaining({
      code: 'url_not_allowed',
      faults: [expect.objectContaining({ path: '/webhook/url' })],
    }),
  );
});

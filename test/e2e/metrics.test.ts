/**
 * The metrics of an API and a worker: as deploy/monitoring describes them, with values that follow from the work that was done,
 * and with no label that a caller can multiply.
 */
import { mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { request as send } from 'node:http';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadedBytes } from '../../shared/model-packages/weights.js';
import { type OwnRedis, openOwnRedis } from '../support/own-redis.js';
import { childrenOf, signal } from '../support/processes.js';
import { answer, openReceiver, type Receiver } from '../support/receiver.js';
import { labelsOf, type Row, readAlerts, readTable, scrape, valuesOf } from '../support/scraped-metrics.js';
import { freePort, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/started-redis.js';
import { type TinyModel, writeDense } from '../support/tiny-models.js';
import { uploadVersion } from '../support/uploads.js';

const BOUND = { timeout: 20_000 };
/** For processes that start side by side. */
const START = { timeout: 45_000, interval: 100 };
/** Above what all tests before the last but one compute. */
const MAX_BATCHES = 30;
const folder = temporaryFolder();
const table = readTable();

let redis: OwnRedis;
let stack: Stack;
let receiver: Receiver;
let gone: Receiver;
let apiPort: number;
let workerPort: number;
/** The requests to `POST /v1/jobs`, by status. */
const submits = new Map<number, number>();

/** One that keeps to its model.yaml, and one that can meet its target with no batch at all. */
const models = [bundle('steady'), bundle('tight', { targetP99Ms: 0.001 })];

function bundle(name: string, batching: object = {}): TinyModel {
  const { folder: made, manifest } = writeDense(join(folder.path, 'made'), { name });
  const path = join(folder.path, 'models', name, '1');
  mkdirSync(join(path, '..'), { recursive: true });
  renameSync(made, path);
  const whole = { ...manifest, batching: { ...manifest.batching, ...batching } };
  writeFileSync(join(path, 'model.yaml'), JSON.stringify(whole));
  return { folder: path, manifest: whole };
}

beforeAll(async () => {
  [apiPort, workerPort] = await Promise.all([freePort(), freePort()]);
  receiver = await openReceiver(answer(204));
  gone = await openReceiver(answer(410));
  const env = {
    SLUICE_MODELS_DIR: join(folder.path, 'models'),
    SLUICE_CACHE_DIR: join(folder.path, 'cache'),
    SLUICE_CHILD_MAX_BATCHES: String(MAX_BATCHES),
    SLUICE_METRICS_PORT: String(apiPort),
  };
  redis = await openOwnRedis();
  stack = await startStack(redis.url, env, 0);
  stack.addWorker({ SLUICE_METRICS_PORT: String(workerPort) });
  await stack.apiReady();
  // Its port is opened last: what is bundled has been loaded.
  await vi.waitFor(ofWorker, START);
});
afterAll(async () => {
  redis?.thaw();
  await stack?.close();
  await redis?.close();
  await Promise.all([receiver?.close(), gone?.close()]);
  folder.remove();
});

const ofApi = async () => valuesOf(await scrape(apiPort));
const ofWorker = async () => valuesOf(await scrape(workerPort));
/** Counters follow what they count within a moment. */
const becomes = (
  values: () => Promise<Record<string, number>>,
  expected: Record<string, number | undefined>,
) =>
  expect
    .poll(async () => {
      const all = await values();
      return Object.fromEntries(Object.keys(expected).map((name) => [name, all[name]]));
    }, BOUND)
    .toEqual(expected);
const reaches = (version: string, state: string) =>
  expect
    .poll(async () => (await stack.request('GET', `/v1/models/${version}`)).body.state, BOUND)
    .toBe(state);

async function submit(model: string, rows: number[][], more: object = {}, headers = {}) {
  const job = await stack.request('POST', '/v1/jobs?wait=20', { model, instances: rows, ...more }, headers);
  submits.set(job.status, (submits.get(job.status) ?? 0) + 1);
  return job.body;
}

const rows = (count: number) => Array.from({ length: count }, (_, i) => [i, 1, 2]);

describe('what was done is measured', () => {
  it('of jobs that end well, badly, twice under one key, and by the predictions of another', async () => {
    for (const count of [1, 2, 8]) expect((await submit('steady', rows(count))).status).toBe('succeeded');
    expect((await submit('steady', [[3e38, 3e38, 3e38]])).error.code).toBe('non_finite_output');
    const key = { 'idempotency-key': 'once' };
    const [first, again] = [
      await submit('steady', rows(1), {}, key),
      await submit('steady', rows(1), {}, key),
    ];
    expect(again.id).toBe(first.id);
    const equal = { cacheSeconds: 60 };
    expect((await submit('steady', rows(3), equal)).cached).toBe(false);
    expect((await submit('steady', rows(3), equal)).cached).toBe(true);
    expect((await submit('nobody', rows(1))).code).toBe('model_not_found');

    await becomes(ofApi, {
      'sluice_jobs_submitted_total{model="steady"}': 7,
      'sluice_jobs_cached_total{model="steady"}': 1,
      sluice_held_requests: 0,
    });
    await becomes(ofWorker, {
      'sluice_jobs_settled_total{model="steady",status="succeeded"}': 5,
      'sluice_jobs_settled_total{model="steady",status="failed"}': 1,
      'sluice_jobs_settled_total{model="steady",status="retried"}': 0,
      'sluice_jobs_settled_total{model="steady",status="void"}': 0,
      'sluice_batch_size_count{model="steady"}': 6,
      'sluice_batch_size_sum{model="steady"}': 16,
      'sluice_batch_wait_seconds_count{model="steady"}': 6,
      'sluice_backend_run_seconds_count{model="steady"}': 6,
      'sluice_input_elements_total{model="steady",kind="real"}': 48,
      'sluice_input_elements_total{model="steady",kind="padding"}': 0,
      sluice_jobs_expired_total: 0,
    });
    const sizes = (await scrape(workerPort)).get('sluice_batch_size')?.samples ?? [];
    const upTo = (le: string) =>
      sizes.find(({ labels }) => labels.le === le && labels.model === 'steady')?.value;
    expect(['1', '2', '4', '8', '+Inf'].map(upTo)).toEqual([3, 4, 5, 6, 6]);
  });

  it('of jobs that wait, are followed, canceled and expire', async () => {
    await stack.request('POST', '/v1/queues/tight/pause');
    const held = submit('tight', rows(1));
    await becomes(ofApi, { sluice_held_requests: 1, 'sluice_jobs_submitted_total{model="tight"}': 1 });
    await becomes(ofWorker, {
      'sluice_queued_jobs{model="tight",version="1"}': 1,
      'sluice_queued_jobs{model="steady",version="1"}': 0,
      'sluice_queue_age_seconds{model="steady",version="1"}': 0,
      'sluice_autoscale_workers{model="tight"}': 1,
      'sluice_autoscale_desired_workers{model="tight"}': 0,
    });
    const age = async () => (await ofWorker())['sluice_queue_age_seconds{model="tight",version="1"}'];
    await expect.poll(age, BOUND).toBeGreaterThanOrEqual(1);
    const { data } = (await stack.request('GET', '/v1/jobs?model=tight')).body;
    const away = new AbortController();
    const headers = { authorization: `Bearer ${stack.key}` };
    const stream = await fetch(`${stack.url}/v1/jobs/${data[0].id}/events`, { headers, signal: away.signal });
    expect(stream.status).toBe(200);
    await becomes(ofApi, { sluice_event_streams: 1 });
    away.abort();
    await becomes(ofApi, { sluice_event_streams: 0 });
    await stack.request('POST', `/v1/jobs/${data[0].id}/cancel`);
    expect((await held).status).toBe('canceled');
    expect((await submit('tight', rows(1), { ttlSeconds: 1 })).status).toBe('expired');
    await becomes(ofApi, { sluice_held_requests: 0, 'sluice_jobs_submitted_total{model="tight"}': 2 });
    await becomes(ofWorker, {
      sluice_jobs_expired_total: 1,
      'sluice_queued_jobs{model="tight",version="1"}': 0,
      'sluice_queue_age_seconds{model="tight",version="1"}': 0,
      'sluice_jobs_settled_total{model="tight",status="succeeded"}': 0,
    });
    await stack.request('POST', '/v1/queues/tight/resume');
  });

  it('of how batches are made: as its model.yaml says, and within a target that none can meet', async () => {
    const limits = (limit: number, delaySeconds: number) => ({
      'sluice_batch_limit{model="steady",version="1"}': 8,
      'sluice_batch_delay_seconds{model="steady",version="1"}': 0.005,
      'sluice_batch_limit{model="tight",version="1"}': limit,
      'sluice_batch_delay_seconds{model="tight",version="1"}': delaySeconds,
    });
    await becomes(ofWorker, limits(8, 0.005));
    // Nothing is concluded from fewer.
    for (let i = 0; i < 8; i++) expect((await submit('tight', rows(1))).status).toBe('succeeded');
    await becomes(ofWorker, limits(1, 0));
    await becomes(ofWorker, { 'sluice_jobs_settled_total{model="tight",status="succeeded"}': 8 });
  });

  it('of a batch: its lines, and that they were submitted', async () => {
    const form = new FormData();
    form.append(
      'file',
      new Blob([`${JSON.stringify({ instances: rows(1) })}\n{"instances": "none"}\n`]),
      'lines',
    );
    const headers = { authorization: `Bearer ${stack.key}` };
    const file = await fetch(`${stack.url}/v1/files`, { method: 'POST', headers, body: form });
    const { id: inputFile } = (await file.json()) as { id: string };
    const { body } = await stack.request('POST', '/v1/batches', { model: 'steady', inputFile });
    const status = async () => (await stack.request('GET', `/v1/batches/${body.id}`)).body.status;
    await expect.poll(status, BOUND).toBe('completed');
    await becomes(ofWorker, {
      'sluice_batches_lines_total{status="succeeded"}': 1,
      'sluice_batches_lines_total{status="failed"}': 1,
      'sluice_batches_lines_total{status="canceled"}': 0,
      'sluice_batches_lines_total{status="expired"}': 0,
      'sluice_jobs_submitted_total{model="steady"}': 1,
      'sluice_jobs_settled_total{model="steady",status="succeeded"}': 6,
    });
  });

  it('of webhooks that are delivered, and of an endpoint that is gone', async () => {
    const attempts = (delivered: number, failed: number) => ({
      'sluice_webhook_attempts_total{outcome="delivered"}': delivered,
      'sluice_webhook_attempts_total{outcome="retried"}': 0,
      'sluice_webhook_attempts_total{outcome="failed"}': failed,
      'sluice_webhook_endpoints_disabled_total{reason="gone"}': failed,
      'sluice_webhook_endpoints_disabled_total{reason="failing"}': 0,
      sluice_webhook_delivery_seconds_count: delivered + failed,
      sluice_webhook_events_dropped_total: 0,
      sluice_webhook_outbox_events: 0,
      sluice_webhook_deliveries_pending: 0,
      sluice_webhook_circuits_open: 0,
    });
    await becomes(ofWorker, attempts(0, 0));
    await submit('steady', rows(1), { webhook: { url: receiver.url } });
    await becomes(ofWorker, attempts(1, 0));
    const endpoint = await stack.request('POST', '/v1/webhook-endpoints', { url: gone.url });
    await submit('steady', rows(1));
    await becomes(ofWorker, attempts(1, 1));
    await stack.request('DELETE', `/v1/webhook-endpoints/${endpoint.body.id}`);
  });

  it('of requests, by the pattern of their route', async () => {
    const expected = [...submits].map(
      ([status, count]) =>
        [`sluice_http_requests_total{method="POST",route="/v1/jobs",status="${status}"}`, count] as const,
    );
    expect(new Map(expected).size).toBe(2);
    await becomes(ofApi, Object.fromEntries(expected));
    const all = await ofApi();
    const ofRoute = Object.keys(all).filter(
      (name) => name.startsWith('sluice_http_requests_total') && name.includes('route="/v1/jobs"'),
    );
    const count = ofRoute.reduce((sum, name) => sum + (all[name] ?? 0), 0);
    expect(all['sluice_http_request_seconds_count{route="/v1/jobs"}']).toBe(count);
    // Some requests were held for a second.
    expect(all['sluice_http_request_seconds_sum{route="/v1/jobs"}']).toBeGreaterThan(1);
  });

  it('of versions that come and go', async () => {
    const [steady, tight] = models as [TinyModel, TinyModel];
    const bytes = await Promise.all([steady, tight].map(bytesOf));
    const [ofSteady = 0, ofTight = 0] = bytes;
    await becomes(ofWorker, {
      'sluice_model_loads_total{model="steady"}': 1,
      'sluice_model_evictions_total{model="steady"}': 0,
      sluice_model_bytes: ofSteady + ofTight,
      [`sluice_backend_info{backend="wasm",device="cpu",name="${cpus()[0]?.model.trim() ?? ''}"}`]: 1,
      'sluice_device_memory_bytes{backend="wasm",device="cpu"}': totalmem(),
    });
    expect((await uploadVersion(stack, 'steady', steady)).status).toBe(202);
    await reaches('steady/versions/2', 'ready');
    await becomes(ofWorker, {
      'sluice_model_loads_total{model="steady"}': 2,
      'sluice_batch_limit{model="steady",version="2"}': 8,
      'sluice_queued_jobs{model="steady",version="2"}': 0,
      sluice_model_bytes: 2 * ofSteady + ofTight,
    });
    expect((await stack.request('DELETE', '/v1/models/steady/versions/2')).status).toBe(200);
    await becomes(ofWorker, {
      'sluice_model_evictions_total{model="steady"}': 1,
      'sluice_batch_limit{model="steady",version="2"}': undefined,
      'sluice_batch_delay_seconds{model="steady",version="2"}': undefined,
      'sluice_queued_jobs{model="steady",version="2"}': undefined,
      sluice_model_bytes: ofSteady + ofTight,
    });
  });

  it('of processes that compute: replaced when they have served their time, or died', async () => {
    const batches = async () => {
      const all = await ofWorker();
      return models.reduce(
        (sum, { manifest: { name } }) => sum + (all[`sluice_batch_size_count{model="${name}"}`] ?? 0),
        0,
      );
    };
    await becomes(ofWorker, { sluice_child_renewals_total: 0, sluice_child_restarts_total: 0 });
    expect(await batches()).toBeLessThan(MAX_BATCHES);
    for (let left = MAX_BATCHES - (await batches()); left > 0; left--) await submit('steady@1', rows(1));
    await becomes(ofWorker, { sluice_child_renewals_total: 1, sluice_child_restarts_total: 0 });
    expect((await submit('steady@1', rows(1))).status).toBe('succeeded');
    const [child] = childrenOf(stack.workers[0]?.pid);
    expect(signal(child, 'SIGKILL')).toBe(true);
    await becomes(ofWorker, { sluice_child_renewals_total: 1, sluice_child_restarts_total: 1 });
    expect((await submit('steady@1', rows(1))).status).toBe('succeeded');
  });
});

describe('what is measured is described', () => {
  const shown = ({ name, type, labels, help }: Row) => ({ name, type, labels, help });

  it('each metric, its type and its labels, and nothing besides', async () => {
    const served = [...(await scrape(apiPort)), ...(await scrape(workerPort))].map(([name, metric]) => {
      expect(metric.samples, name).not.toEqual([]);
      return [name, { name, type: metric.type, labels: labelsOf(metric), help: metric.help }] as const;
    });
    const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);
    expect([...new Map(served)].sort(byName)).toEqual(
      table.map((row) => [row.name, shown(row)] as const).sort(byName),
    );
  });

  it('in the words of Prometheus', () => {
    for (const { name, type } of table) {
      expect(name).toMatch(/^[a-z]+(_[a-z]+)+$/);
      expect(name.endsWith('_total'), `${name}: only counters, and all of them`).toBe(type === 'counter');
      expect(name, 'in base units').not.toMatch(/_(ms|milliseconds|minutes|kb|mb|percent)(_|$)/);
    }
  });

  it('and so is who serves it', async () => {
    const serves = (who: string) =>
      table.filter(({ servedBy }) => servedBy.includes(who)).map(({ name }) => name);
    const names = async (port: number) => [...(await scrape(port)).keys()];
    expect((await names(apiPort)).sort()).toEqual(serves('api').sort());
    const light = ['delivery', 'batches', 'upkeep'];
    const ports = await Promise.all(light.map(freePort));
    ports.forEach((port, i) => {
      stack.addWorker({ SLUICE_ROLES: light[i] ?? '', SLUICE_METRICS_PORT: String(port) });
    });
    const others = new Set<string>();
    for (const [i, role] of light.entries()) {
      const found = await vi.waitFor(() => names(ports[i] ?? 0), START);
      expect(found.sort(), role).toEqual(serves(role).sort());
      for (const name of found) others.add(name);
    }
    // No other role serves these metrics, though each may serve some of those before.
    const left = (await names(workerPort)).filter((name) => !others.has(name));
    const alone = table.filter(({ servedBy }) => servedBy.join() === 'inference').map(({ name }) => name);
    expect(left.sort()).toEqual(alone.sort());
    expect(new Set(table.flatMap(({ servedBy }) => servedBy))).toEqual(
      new Set(['api', 'inference', ...light]),
    );
  });

  it('and what alerts ask for is there', () => {
    const asked = new Set(readAlerts().flatMap(({ expr }) => expr.match(/\bsluice_\w+/g)));
    expect(asked.size).toBeGreaterThan(4);
    expect([...asked].filter((name) => !table.some((row) => row.name === name))).toEqual([]);
  });
});

it('all but what is read from Redis is served while Redis stands still', async () => {
  const isRead = (name: string) => /^sluice_(queue|autoscale|webhook_(outbox|deliveries_pending))/.test(name);
  const seriesOf = async () => Object.keys(await ofWorker()).sort();
  const before = await seriesOf();
  expect(before.filter(isRead)).toHaveLength(6 + 4 * 2);
  redis.freeze();
  expect(await seriesOf()).toEqual(before.filter((name) => !isRead(name)));
  redis.thaw();
  await expect.poll(seriesOf, BOUND).toEqual(before);
});

describe('a stranger', () => {
  /** Answers the status. */
  function call(method: string, path: string, headers: Record<string, string> = {}): Promise<number> {
    return new Promise((resolve, reject) => {
      send(stack.url + path, { method, headers }, (response) => {
        response.resume().once('end', () => resolve(response.statusCode ?? 0));
      })
        .once('error', reject)
        .end();
    });
  }

  /** All that a caller can make up; with a key and without one. */
  async function roam(name: string, methods: readonly string[]): Promise<void> {
    const key = { authorization: `Bearer ${stack.key}` };
    for (const headers of [{}, key]) {
      for (const method of methods) await call(method, `/v1/jobs/${name}`, headers);
      for (const path of ['', 'v1/', 'v1/jobs/', 'v1/models/', 'v1/files/', 'v1/queues/', 'v1/batches/'])
        await call('GET', `/${path}${name}?x-${name}=${name}`, { ...headers, 'x-request-id': name });
      await call('POST', `/v1/models/${name}/versions`, headers);
      await call('POST', `/v1/queues/${name}/pause`, headers);
    }
    for (const model of [name, `steady@${name}`, `${name}@1`]) await submit(model, rows(1));
  }

  const seriesOf = async (port: number) =>
    Object.keys(valuesOf(await scrape(port))).filter((name) => !name.startsWith('sluice_queue'));

  it('makes no series: not by paths, ids, names of models, nor by methods', async () => {
    await roam('first', ['PROPFIND', 'DELETE', 'PATCH']);
    const before = [await seriesOf(apiPort), await seriesOf(workerPort)];
    for (let i = 0; i < 5; i++) await roam(`other-${i}`, ['MKCOL', 'REPORT', 'DELETE', 'PATCH', 'LOCK']);
    expect([await seriesOf(apiPort), await seriesOf(workerPort)]).toEqual(before);
    expect(before.flat().filter((name) => /first|PROPFIND/.test(name))).toEqual([]);
    expect(before[0]).toContain('sluice_http_requests_total{method="other",route="none",status="405"}');
  });
});

function bytesOf({ folder: path, manifest }: TinyModel): Promise<number> {
  const sizeBytes = Object.keys(manifest.files).reduce(
    (sum, file) => sum + statSync(join(path, file)).size,
    0,
  );
  return loadedBytes(path, { manifest, sizeBytes });
}

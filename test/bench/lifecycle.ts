/**
 * `npm run bench:lifecycle -- [--out DIR]`
 *
 * Absolute times and errors that a job's life is judged by, each beside what is asked of it: cancel, expiry, estimates,
 * what a full queue answers, and what overload does to the jobs that were accepted. Production's own processes on this
 * machine, which also makes the load.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { Pool } from 'undici';
import { systemClock as clock, sleep, toTimestamp } from '../../shared/base/clock.js';
import { loadConfig } from '../../shared/contract/config.js';
import type { JobView } from '../../shared/contract/job-view.js';
import { median, quantile, table } from './figures.js';
import { machineFacts } from './machine.js';
import { onSite, type Site, tell, writeResult } from './site.js';
import { type System, startSluice } from './systems.js';

const { values } = parseArgs({ options: { out: { type: 'string', default: 'test/bench/results' } } });

const DIGIT = JSON.parse(
  readFileSync(join(loadConfig().SLUICE_MODELS_DIR, 'mnist/examples/7.json'), 'utf8'),
) as object;
/** Computes for some tens of milliseconds: a job that is slow beside what it costs to queue it. */
const PICTURE = await picture(40);
/** Computes for seconds. */
const ALBUM = { model: 'upscale', instances: new Array(40).fill((await picture(128)).instances[0]) };
/** Queue of the slow model, small enough to fill. */
const MOST_QUEUED = 1200;

interface Answer {
  status: number;
  retryAfterSeconds: number;
  body: JobView;
  ms: number;
}

interface Client {
  /** Aborts when the bench is interrupted. */
  signal: AbortSignal;
  call(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer>;
}

type Line = [what: string, asked: string, measured: string];

await onSite(measureAndReport);

async function measureAndReport(site: Site): Promise<void> {
  const system = await startSluice(site, { SLUICE_MAX_QUEUED_PER_MODEL: String(MOST_QUEUED) });
  const client = openClient(site, system);
  const lines: Line[] = [];
  for (const part of [cancelQueued, cancelRunning, expire, estimate, overload]) {
    tell(`${part.name} …`);
    lines.push(...(await part(client)));
  }
  publish(lines, machineFacts(site.program.origin));
}

async function cancelQueued(client: Client): Promise<Line[]> {
  await client.call('POST', '/v1/queues/mnist/pause');
  const times: number[] = [];
  for (let i = 0; i < 200; i++) {
    const { body } = await client.call('POST', '/v1/jobs', DIGIT);
    const canceled = await client.call('POST', `/v1/jobs/${body.id}/cancel`);
    demand(canceled.body.status === 'canceled' && canceled.body.attempts === 0, canceled);
    times.push(canceled.ms);
  }
  await client.call('POST', '/v1/queues/mnist/resume');
  return [['cancel of a queued job, answered as canceled', '≤ 50 ms', msOf(times)]];
}

async function cancelRunning(client: Client): Promise<Line[]> {
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const { body } = await client.call('POST', '/v1/jobs', ALBUM);
    await until(
      client,
      async () => (await client.call('GET', `/v1/jobs/${body.id}`)).body.status === 'running',
    );
    const canceled = await client.call('POST', `/v1/jobs/${body.id}/cancel`);
    demand(canceled.body.status === 'canceled', canceled);
    times.push(canceled.ms);
  }
  return [['cancel of a running job, answered as canceled', '≤ 250 ms', msOf(times)]];
}

/** The worker computes meanwhile, and the deadlines are those of a queue that is held back. */
async function expire(client: Client): Promise<Line[]> {
  const album = await client.call('POST', '/v1/jobs', ALBUM);
  await client.call('POST', '/v1/queues/mnist/pause');
  const jobs = await Promise.all(
    Array.from({ length: 300 }, (_, i) =>
      client.call('POST', '/v1/jobs', { ...DIGIT, ttlSeconds: 1 + (i % 3) }),
    ),
  );
  const ended = await Promise.all(jobs.map(({ body }) => client.call('GET', `/v1/jobs/${body.id}?wait=30`)));
  for (const answer of ended) demand(answer.body.status === 'expired', answer);
  await client.call('POST', '/v1/queues/mnist/resume');
  await client.call('POST', `/v1/jobs/${album.body.id}/cancel`);
  const late = ended.map(({ body }) => Date.parse(body.finishedAt ?? '') - Date.parse(body.expiresAt));
  return [['expiry after its deadline, worker busy', '≤ 1 s', msOf(late)]];
}

/** A queue kept at the same length by submitting one job for each that starts. */
async function estimate(client: Client): Promise<Line[]> {
  const inQueue = 200;
  await Promise.all(Array.from({ length: inQueue }, () => client.call('POST', '/v1/jobs', PICTURE)));
  const asked: { id: string; atMs: number; startsMs: number }[] = [];
  const held: Promise<unknown>[] = [];
  for (let i = 0; i < inQueue * 2; i++) {
    const { body } = await client.call('POST', '/v1/jobs', PICTURE);
    const seen = await client.call('GET', `/v1/jobs/${body.id}`);
    if (i >= inQueue && seen.body.estimatedStartAt) {
      asked.push({ id: body.id, atMs: Date.now(), startsMs: Date.parse(seen.body.estimatedStartAt) });
    }
    held.push(client.call('GET', `/v1/jobs/${body.id}?wait=60`));
    if (held.length >= inQueue) await held.shift();
  }
  const errors: number[] = [];
  for (const { id, atMs, startsMs } of asked) {
    await until(
      client,
      async () => (await client.call('GET', `/v1/jobs/${id}?wait=60`)).body.startedAt !== null,
    );
    const { body } = await client.call('GET', `/v1/jobs/${id}`);
    const startedMs = Date.parse(body.startedAt ?? '');
    errors.push(Math.abs(startsMs - startedMs) / Math.max(startedMs - atMs, 1));
  }
  const error = `median ${percent(median(errors))}, of ${errors.length} jobs`;
  return [['error of estimatedStartAt at steady load', 'median ≤ 25 %', error]];
}

/** Ten times what the worker can do, for as long as it takes to turn a full queue over, and a half more. */
async function overload(client: Client): Promise<Line[]> {
  const warm = await Promise.all(Array.from({ length: 64 }, () => client.call('POST', '/v1/jobs', PICTURE)));
  const startedMs = clock.monotonic();
  await Promise.all(warm.map(({ body }) => client.call('GET', `/v1/jobs/${body.id}?wait=60`)));
  const perSecond = warm.length / ((clock.monotonic() - startedMs) / 1000);
  const boundMs = (MOST_QUEUED / perSecond) * 1000;
  const endMs = clock.monotonic() + 1.5 * boundMs;
  const accepted: string[] = [];
  const refused: Answer[] = [];
  const pending: Promise<unknown>[] = [];
  while (clock.monotonic() < endMs && !client.signal.aborted) {
    pending.push(
      client.call('POST', '/v1/jobs', PICTURE).then((answer) => {
        if (answer.status === 202) accepted.push(answer.body.id);
        else refused.push(answer);
      }),
    );
    await sleep(clock, 100 / perSecond);
  }
  await Promise.all(pending);
  const hint = median(refused.map(({ retryAfterSeconds }) => retryAfterSeconds));
  const drainedMs = await timeToDrain(client, MOST_QUEUED * 0.9);
  const waits: number[] = [];
  for (const id of accepted) {
    await until(
      client,
      async () => (await client.call('GET', `/v1/jobs/${id}?wait=60`)).body.finishedAt !== null,
    );
    const { body } = await client.call('GET', `/v1/jobs/${id}`);
    waits.push(body.timings?.queueMs ?? Number.NaN);
  }
  const bound = `≤ ${seconds(boundMs)}: ${MOST_QUEUED} queued at ${perSecond.toFixed(1)}/s`;
  const ratio = (hint * 1000) / drainedMs;
  return [
    ['p99 of the time queued at 10 × overload', bound, seconds(quantile(waits, 0.99))],
    [
      'answer of a full queue (503)',
      '≤ 5 ms',
      `${msOf(refused.map(({ ms }) => ms))}, ${refused.length} refused`,
    ],
    [
      'Retry-After ÷ time until a tenth had started',
      '0.7 to 1.3',
      `${ratio.toFixed(2)} (${hint} s, whole seconds)`,
    ],
  ];
}

async function timeToDrain(client: Client, queued: number): Promise<number> {
  const startedMs = clock.monotonic();
  await until(client, async () => {
    const { body } = await client.call('GET', '/v1/queues');
    const { data } = body as unknown as { data: { model: string; queued: number }[] };
    return (data.find(({ model }) => model === 'upscale')?.queued ?? 0) <= queued;
  });
  return clock.monotonic() - startedMs;
}

async function picture(side: number) {
  const grey = { width: side, height: side, channels: 3, background: '#808080' } as const;
  const b64 = (await sharp({ create: grey }).png().toBuffer()).toString('base64');
  return { model: 'upscale', instances: [{ image: { b64 } }] };
}

function openClient({ defer, signal }: Site, { origin, apiKey }: System): Client {
  const pool = new Pool(origin, { connections: 512, pipelining: 1 });
  defer(() => pool.close());
  const authorization = `Bearer ${apiKey}`;
  return {
    signal,
    async call(method, path, body) {
      const sentMs = clock.monotonic();
      const headers = body ? { authorization, 'content-type': 'application/json' } : { authorization };
      const answer = await pool.request({ method, path, headers, body: body ? JSON.stringify(body) : null });
      const parsed = (await answer.body.json()) as JobView;
      const retryAfterSeconds = Number(answer.headers['retry-after'] ?? Number.NaN);
      return { status: answer.statusCode, retryAfterSeconds, body: parsed, ms: clock.monotonic() - sentMs };
    },
  };
}

async function until({ signal }: Client, isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) {
    if (signal.aborted) throw new Error('interrupted');
    await sleep(clock, 20);
  }
}

function demand(isSo: boolean, answer: Answer): void {
  if (!isSo) throw new Error(`unexpected: ${answer.status} ${JSON.stringify(answer.body).slice(0, 300)}`);
}

function msOf(times: readonly number[]): string {
  return `p50 ${quantile(times, 0.5).toFixed(1)} ms, p99 ${quantile(times, 0.99).toFixed(1)} ms`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function publish(lines: Line[], machine: Record<string, string | number>): void {
  const date = toTimestamp(clock.now());
  const facts = Object.entries(machine).map(([name, value]) => `${name} ${value}`);
  const text = [
    "# A job's life in figures",
    '',
    `${date}; ${facts.join(', ')}.`,
    'One API process and one worker; the clients share the machine with them. Slow jobs: `upscale` of 40 × 40 pixels.',
    '',
    ...table(['what', 'asked', 'measured'], lines),
    '',
  ].join('\n');
  writeResult(values.out, 'lifecycle-', date, 'md', text);
  console.log(text);
}

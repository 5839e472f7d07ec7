/**
 * `npm run bench:webhooks -- [--out DIR] [--seconds 20] [--rounds 5]`
 *
 * Measures how soon a receiver is called, what a bad receiver costs its neighbours, and whether attempts keep to their schedule
 * through an outage. The first two run Sluice's own processes, which share the machine with the clients and the receivers. The
 * third runs the delivery role on a scaled schedule.
 */
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { systemClock as clock, sleep, toTimestamp } from '../../../shared/base/clock.js';
import { median, quantile, table } from '../figures.js';
import { jsonImages } from '../hot/test-digits.js';
import { machineFacts } from '../machine.js';
import { onSite, type Site, tell, writeResult } from '../site.js';
import { type System, startSluice } from '../systems.js';
import { type Line, outage } from './outage.js';
import { ALLOWED, hanging, openReceiver, refusing, slow, until } from './receivers.js';

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'test/bench/results' },
    seconds: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '5' },
  },
});
const SECONDS = Number(values.seconds);
const ROUNDS = Number(values.rounds);
/** The load of the first part; that of the second follows. */
const JOBS_PER_SECOND = 200;
const BESIDE_PER_SECOND = 50;
/** The number of receivers beside the one that is measured. */
const BESIDE = 3;
const TOLD_MS = 60_000;

await onSite(measureAndReport);

async function measureAndReport(site: Site): Promise<void> {
  const system = await startSluice(site, { SLUICE_WEBHOOK_ALLOW_PRIVATE: ALLOWED, SLUICE_BACKEND: 'wasm' });
  const client = openClient(site, system);
  const lines: Line[] = [];
  for (const part of [soon, beside]) {
    tell(`${part.name} …`);
    lines.push(...(await part(site, client)));
  }
  tell('outage …');
  lines.push(...(await outage(site)));
  publish(lines, machineFacts(site.program.origin));
}

/** Measures the time from the end of a job to the arrival of its first attempt. */
async function soon(site: Site, client: Client): Promise<Line[]> {
  const receiver = await openReceiver(site);
  const endpoint = await client.register(receiver.url);
  await load(client, JOBS_PER_SECOND, 2);
  receiver.delaysMs.length = 0;
  const jobs = await load(client, JOBS_PER_SECOND, SECONDS);
  await until(site, TOLD_MS, () => receiver.delaysMs.length >= jobs);
  await client.remove(endpoint);
  const { delaysMs } = receiver;
  const asked = 'p50 ≤ 100 ms, p99 ≤ 1000 ms';
  return [[`first attempt after the end of a job, at ${JOBS_PER_SECOND} jobs/s`, asked, msOf(delaysMs)]];
}

/** Measures one receiver beside three that respond, and beside one that refuses, one that hangs and one that is slow. */
async function beside(site: Site, client: Client): Promise<Line[]> {
  const good = await Promise.all(Array.from({ length: BESIDE }, () => openReceiver(site)));
  const bad = [await refusing(), await hanging(site), await slow(site)];
  const ratios: number[] = [];
  const alone: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const besideGood = () =>
      p95Beside(
        site,
        client,
        good.map(({ url }) => url),
      );
    const besideBad = () => p95Beside(site, client, bad);
    const order = round % 2 ? [besideBad, besideGood] : [besideGood, besideBad];
    const measured = [await order[0]?.(), await order[1]?.()] as [number, number];
    const [g, b] = round % 2 ? [measured[1], measured[0]] : measured;
    tell(`  p95 ${g.toFixed(0)} ms beside good ones, ${b.toFixed(0)} ms beside bad ones`);
    alone.push(g);
    ratios.push(b / g);
  }
  const spread = `${median(ratios).toFixed(2)} × (${ratios.map((each) => each.toFixed(2)).join(', ')})`;
  return [
    [
      `p95 of the first attempt beside ${BESIDE} bad receivers ÷ beside ${BESIDE} good ones, at ${BESIDE_PER_SECOND} jobs/s`,
      '≤ 1.2 ×',
      `${spread}; ${median(alone).toFixed(0)} ms beside good ones`,
    ],
  ];
}

async function p95Beside(site: Site, client: Client, urls: readonly string[]): Promise<number> {
  const receiver = await openReceiver(site);
  const endpoints = await Promise.all([receiver.url, ...urls].map((url) => client.register(url)));
  await load(client, BESIDE_PER_SECOND, 2);
  receiver.delaysMs.length = 0;
  const jobs = await load(client, BESIDE_PER_SECOND, SECONDS);
  await until(site, TOLD_MS, () => receiver.delaysMs.length >= jobs);
  for (const endpoint of endpoints) await client.remove(endpoint);
  return quantile(receiver.delaysMs, 0.95);
}

interface Client {
  submit(): Promise<void>;
  register(url: string): Promise<string>;
  remove(endpoint: string): Promise<void>;
}

function openClient({ defer }: Site, { origin, apiKey }: System): Client {
  const pool = new Pool(origin, { connections: 64, pipelining: 1 });
  defer(() => pool.close());
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const digits = jsonImages().map((instance) => JSON.stringify({ model: 'mnist', instances: [instance] }));
  let nth = 0;

  async function call(method: 'POST' | 'DELETE', path: string, body: string | null, expected: number) {
    const answer = await pool.request({ method, path, headers, body });
    const text = await answer.body.text();
    if (answer.statusCode !== expected) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
    return text;
  }

  return {
    async submit() {
      await call('POST', '/v1/jobs', digits[nth++ % digits.length] ?? '', 202);
    },
    async register(url) {
      const body = JSON.stringify({ url, events: ['job.succeeded'] });
      return (JSON.parse(await call('POST', '/v1/webhook-endpoints', body, 201)) as { id: string }).id;
    },
    async remove(endpoint) {
      await call('DELETE', `/v1/webhook-endpoints/${endpoint}`, null, 204);
    },
  };
}

/** Submits jobs at a fixed rate, whether earlier ones have ended or not (an open loop). Returns how many. */
async function load(client: Client, perSecond: number, seconds: number): Promise<number> {
  const jobs = perSecond * seconds;
  const startMs = clock.monotonic();
  const submits: Promise<void>[] = [];
  for (let nth = 0; nth < jobs; nth++) {
    const dueMs = (nth / perSecond) * 1000 - (clock.monotonic() - startMs);
    if (dueMs > 1) await sleep(clock, dueMs);
    const submit = client.submit();
    // A failure is told below, with the others, and must not end the process before that.
    submit.catch(() => undefined);
    submits.push(submit);
  }
  await Promise.all(submits);
  return jobs;
}

function msOf(times: readonly number[]): string {
  const p = (share: number) => quantile(times, share).toFixed(0);
  return `p50 ${p(0.5)} ms, p99 ${p(0.99)} ms, all of ${times.length} within ${Math.max(...times)} ms`;
}

function publish(lines: Line[], machine: Record<string, string | number>): void {
  const date = toTimestamp(clock.now());
  const facts = Object.entries(machine).map(([name, value]) => `${name} ${value}`);
  const text = [
    '# Webhooks in figures',
    '',
    `${date}; ${facts.join(', ')}.`,
    'One API process and one worker in all roles; clients and receivers share the machine with them.',
    '',
    ...table(['what', 'asked', 'measured'], lines),
    '',
  ].join('\n');
  writeResult(values.out, 'webhooks-', date, 'md', text);
  console.log(text);
}

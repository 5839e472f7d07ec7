/**
 * The measurement: every system is up all the time, one at a time is under load, round after round.
 *
 * The machine's speed changes from minute to minute, so figures are only compared with those of the same round, and
 * each round begins with another row.
 */
import type { Site } from '../site.js';
import { openRedisFor, type System, startSluice } from '../systems.js';
import { startBareRoute, startRival } from './contenders.js';
import { ROW_IDS, type Row, type RowId } from './samples.js';
import {
  bareBackend,
  bareQueue,
  type Load,
  type Loading,
  loaded,
  openLoad,
  type Subject,
} from './subjects.js';
import { jsonImages } from './test-digits.js';

export interface Plan {
  rounds: number;
  /** The seconds of load for each row and round. */
  seconds: number;
  inFlight: number;
  /** Worker concurrencies to try for the rival; the best one runs. */
  rivalConcurrencies: number[];
  /** The pause of a poller. */
  pollMs: number;
  rows: ReadonlySet<RowId>;
}

/** The rival's figures at one worker concurrency. */
export interface Trial {
  concurrency: number;
  perSecond: number;
}

export interface Outcome {
  rows: Row[];
  trials: Trial[];
}

/** So many bulk requests are in flight. */
const BULKS = 4;

/** Starts what the rows of the plan need, warms it up, and measures round after round. */
export async function runBench(plan: Plan, site: Site, tell: (line: string) => void): Promise<Outcome> {
  tell('Starting …');
  const load = openLoad(site);
  const trials: Trial[] = [];
  const found = [
    ...(await aroundSluice(plan, site, load)),
    ...(await rivals(plan, site, load, trials, tell)),
    ...(wants(plan, 'queueRow', 'queueId') ? await bareQueue(site, plan.inFlight) : []),
    ...(wants(plan, 'backend1', 'backend32') ? bareBackend(site) : []),
  ];
  const subjects = ROW_IDS.filter((id) => plan.rows.has(id)).flatMap((id) =>
    found.filter(({ row }) => row.id === id),
  );
  tell('Warming up …');
  for (const subject of subjects) await warmUp(subject, plan.seconds / 2);
  for (let round = 0; round < plan.rounds; round++) {
    tell(`Round ${round + 1} of ${plan.rounds} …`);
    for (const subject of rotated(subjects, round)) {
      subject.row.samples[round] = await subject.measure(plan.seconds);
    }
  }
  return { rows: subjects.map(({ row }) => row), trials };
}

/** Returns the rows of Sluice, and of the bare route, which answers what Sluice does. */
async function aroundSluice(plan: Plan, site: Site, load: Load): Promise<Subject[]> {
  if (!wants(plan, 'sluice', 'sluice1', 'pollSluice', 'base64', 'bulk', 'bulkJson', 'bareRoute')) return [];
  const { inFlight, pollMs } = plan;
  // The same backend and model as the rival, whatever else this machine and the package have.
  const system = await startSluice(site, { SLUICE_BACKEND: 'wasm', SLUICE_MODELS: 'mnist' });
  const loadings: Loading[] = [
    { id: 'sluice', protocol: 'sluice', system, inFlight, counted: true },
    { id: 'sluice1', protocol: 'sluice', system, inFlight: 1, counted: true },
    { id: 'pollSluice', protocol: 'pollSluice', system, inFlight },
    { id: 'base64', protocol: 'base64', system, inFlight },
    { id: 'bulk', protocol: 'bulk', system, inFlight: BULKS },
    { id: 'bulkJson', protocol: 'bulkJson', system, inFlight: BULKS },
  ];
  if (wants(plan, 'bareRoute')) {
    const route = await startBareRoute(site, await finishedJob(system));
    loadings.push({ id: 'bareRoute', protocol: 'bareRoute', system: route, inFlight });
  }
  return loadings.map((loading) => loaded(load, pollMs, loading));
}

/** Resolves to the text of a job that Sluice has finished. */
async function finishedJob({ origin, apiKey }: System): Promise<string> {
  const answer = await fetch(`${origin}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}`, prefer: 'wait=30' },
    body: JSON.stringify({ model: 'mnist', instances: jsonImages().slice(0, 1) }),
  });
  if (answer.status !== 200) throw new Error(`Sluice answered ${answer.status} ${await answer.text()}`);
  return answer.text();
}

/** Returns the rows of the rival. Callers who poll have one of their own, which makes no events for callers who wait. */
async function rivals(
  plan: Plan,
  site: Site,
  load: Load,
  trials: Trial[],
  tell: (line: string) => void,
): Promise<Subject[]> {
  if (!wants(plan, 'rival', 'rival1', 'pollRival')) return [];
  const { inFlight, pollMs } = plan;
  const redis = await openRedisFor(site, 'rival');
  const concurrency = await bestConcurrency(plan, trials, tell, async (tried) => {
    const { system, stop } = await startRival(site, 'rival', redis, tried);
    const { measure } = loaded(load, pollMs, { id: 'rival', protocol: 'rival', system, inFlight });
    await measure(plan.seconds / 2);
    const { perSecond } = await measure(plan.seconds / 2);
    await stop();
    return perSecond;
  });
  const { system } = await startRival(site, 'rival', redis, concurrency);
  const loadings: Loading[] = [
    { id: 'rival', protocol: 'rival', system, inFlight },
    { id: 'rival1', protocol: 'rival', system, inFlight: 1 },
  ];
  if (wants(plan, 'pollRival')) {
    const ownRedis = await openRedisFor(site, 'poll-rival');
    const polled = await startRival(site, 'poll-rival', ownRedis, concurrency);
    loadings.push({ id: 'pollRival', protocol: 'pollRival', system: polled.system, inFlight });
  }
  return loadings.map((loading) => loaded(load, pollMs, loading));
}

/** The worker concurrency is the one setting of the rival that its speed depends on. */
async function bestConcurrency(
  { rivalConcurrencies }: Plan,
  trials: Trial[],
  tell: (line: string) => void,
  speedAt: (concurrency: number) => Promise<number>,
): Promise<number> {
  const [first = 1] = rivalConcurrencies;
  if (rivalConcurrencies.length < 2) return first;
  tell('Looking for the best worker concurrency of the rival …');
  for (const concurrency of rivalConcurrencies)
    trials.push({ concurrency, perSecond: await speedAt(concurrency) });
  return trials.reduce((best, trial) => (trial.perSecond > best.perSecond ? trial : best)).concurrency;
}

async function warmUp({ row, measure }: Subject, seconds: number): Promise<void> {
  const { wrong, firstFault } = await measure(seconds);
  if (wrong) throw new Error(`${row.name}, ${row.detail}, answered wrongly ${wrong} times:\n${firstFault}`);
}

function wants({ rows }: Plan, ...ids: RowId[]): boolean {
  return ids.some((id) => rows.has(id));
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

/**
 * The measurement: every system is up all the time, one at a time is under load, round after round.
 *
 * The machine's speed changes from minute to minute, so figures are only compared with those of the same round, and
 * each round begins with another row.
 */
import type { BackendOrder, BackendResult } from './bare-backend.js';
import type { QueueOrder, QueueResult } from './bullmq.js';
import type { LoadOrder, LoadResult } from './load.js';
import { type Measurer, openMeasurer } from './measurer.js';
import type { Row, RowId, Sample, Trial } from './report.js';
import type { Site } from './site.js';
import { openRedisFor, type System, startRival, startSluice } from './systems.js';
import { type Usage, usageOf } from './usage.js';

export interface Plan {
  rounds: number;
  /** The seconds of load for each row and round. */
  seconds: number;
  inFlight: number;
  /** Worker concurrencies to try for the rival; the best one runs. */
  rivalConcurrencies: number[];
}

export interface Outcome {
  rows: Row[];
  trials: Trial[];
}

/** Something that can be measured again and again. */
interface Subject {
  row: Row;
  measure(seconds: number): Promise<Sample>;
}

const NAMES = { sluice: 'Sluice', rival: 'rival: Koa + BullMQ + tfjs' } as const;

type Load = Measurer<LoadOrder, LoadResult>;

export async function runBench(plan: Plan, site: Site, tell: (line: string) => void): Promise<Outcome> {
  tell('Starting …');
  const load: Load = openSite(site, './load.js');
  const sluice = await startSluice(site);
  const { rival, trials } = await startBestRival(plan, site, load, tell);
  const subjects = [
    loaded('sluice', sluice, load, plan.inFlight),
    loaded('sluice1', sluice, load, 1),
    loaded('rival', rival, load, plan.inFlight),
    loaded('rival1', rival, load, 1),
    ...(await bareQueue(site, plan.inFlight)),
    ...bareBackend(site),
  ];
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

async function warmUp({ row, measure }: Subject, seconds: number): Promise<void> {
  const { wrong, firstFault } = await measure(seconds);
  if (wrong) throw new Error(`${row.name} answered wrongly ${wrong} times:\n${firstFault}`);
}

/** The worker concurrency is the one setting of the rival that its speed depends on. */
async function startBestRival(plan: Plan, site: Site, load: Load, tell: (line: string) => void) {
  const redis = await openRedisFor(site, 'rival');
  const trials: Trial[] = [];
  if (plan.rivalConcurrencies.length > 1) {
    tell('Looking for the best worker concurrency of the rival …');
    for (const concurrency of plan.rivalConcurrencies) {
      const { system, stop } = await startRival(site, redis, concurrency);
      const { measure } = loaded('rival', system, load, plan.inFlight);
      await measure(plan.seconds / 2);
      trials.push({ concurrency, perSecond: (await measure(plan.seconds / 2)).perSecond });
      await stop();
    }
  }
  const best = trials.reduce<Trial | undefined>(
    (first, trial) => (first && first.perSecond >= trial.perSecond ? first : trial),
    undefined,
  );
  const concurrency = best?.concurrency ?? plan.rivalConcurrencies[0] ?? 1;
  return { rival: (await startRival(site, redis, concurrency)).system, trials };
}

function loaded(id: RowId, system: System, load: Load, inFlight: number): Subject {
  const { protocol, origin, apiKey, redis } = system;
  return {
    row: { id, name: NAMES[protocol], detail: `${inFlight} in flight`, unit: 'jobs', samples: [] },
    async measure(seconds) {
      const pids = [...system.pids, redis.pid ?? 0];
      const order = { protocol, origin, apiKey, inFlight, seconds };
      const { result, cpuMs } = await metered(pids, () => load.ask(order));
      const { jobs, p50Ms, p99Ms, batchSize, wrong, firstFault } = result;
      return {
        perSecond: jobs / result.seconds,
        p50Ms,
        p99Ms,
        batchSize,
        wrong,
        firstFault,
        cpuMsPerJob: cpuMs === null ? null : cpuMs / jobs,
        memoryMb: usageOf(system.pids)?.memoryMb ?? null,
        redisMb: usageOf([redis.pid ?? 0])?.memoryMb ?? null,
      };
    },
  };
}

async function bareQueue(site: Site, inFlight: number): Promise<Subject[]> {
  const redis = await openRedisFor(site, 'bullmq');
  const queue = openSite<QueueOrder, QueueResult>(site, './bullmq.js');
  const subject = (id: RowId, payload: QueueOrder['payload'], detail: string): Subject => ({
    row: { id, name: 'bare BullMQ, add + process', detail, unit: 'jobs', samples: [] },
    async measure(seconds) {
      const order: QueueOrder = { redisUrl: redis.url, payload, inFlight, seconds };
      const { result, cpuMs } = await metered([queue.pid, redis.pid ?? 0], () => queue.ask(order));
      return {
        perSecond: result.jobs / result.seconds,
        cpuMsPerJob: cpuMs === null ? null : cpuMs / result.jobs,
      };
    },
  });
  return [subject('queueRow', 'row', '784 numbers as JSON'), subject('queueId', 'id', 'an id')];
}

function bareBackend(site: Site): Subject[] {
  const backend = openSite<BackendOrder, BackendResult>(site, './bare-backend.js');
  const subject = (id: RowId, batchSize: number): Subject => ({
    row: { id, name: 'bare tfjs, wasm', detail: `batch ${batchSize}`, unit: 'rows', samples: [] },
    async measure(seconds) {
      const { result, cpuMs } = await metered([backend.pid], () => backend.ask({ batchSize, seconds }));
      return {
        perSecond: result.rows / result.seconds,
        cpuMsPerJob: cpuMs === null ? null : cpuMs / result.rows,
      };
    },
  });
  return [subject('backend1', 1), subject('backend32', 32)];
}

/** Does something and tells how much processor time the processes took meanwhile. */
async function metered<T>(pids: number[], act: () => Promise<T>) {
  const before: Usage | null = usageOf(pids);
  const result = await act();
  const after = usageOf(pids);
  return { result, cpuMs: before && after ? after.cpuMs - before.cpuMs : null };
}

function openSite<Order extends object, Result>(site: Site, file: string): Measurer<Order, Result> {
  const measurer = openMeasurer<Order, Result>(new URL(file, import.meta.url));
  site.defer(() => measurer.close());
  return measurer;
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

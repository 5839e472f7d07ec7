/**
 * Subjects: what can be measured again and again, each a row of the table.
 */

import { type Measurer, openMeasurer } from '../measurer.js';
import type { Site } from '../site.js';
import { openRedisFor, type System } from '../systems.js';
import { coreTimes, cpuMsOf, memoryMbOf } from '../usage.js';
import type { BackendOrder, BackendResult } from './bare-backend.js';
import type { QueueOrder, QueueResult } from './bullmq.js';
import type { LoadOrder, LoadResult } from './load.js';
import { BULK_JOBS, type ProtocolName } from './protocols.js';
import { countCommands } from './redis-commands.js';
import type { Row, RowId, Sample } from './samples.js';

export interface Subject {
  row: Row;
  measure(seconds: number): Promise<Sample>;
}

export type Load = Measurer<LoadOrder, LoadResult>;

/** How a system is loaded for a row. */
export interface Loading {
  id: RowId;
  protocol: ProtocolName;
  system: System;
  /** Clients. */
  inFlight: number;
  /** The commands in Redis are counted, too. */
  counted?: boolean;
}

const NAMES: Record<ProtocolName, [name: string, detail: string]> = {
  sluice: ['Sluice', ''],
  pollSluice: ['Sluice', ', polled'],
  base64: ['Sluice', ', base64'],
  bulk: ['Sluice', ` × ${BULK_JOBS}, bulk, base64`],
  bulkJson: ['Sluice', ` × ${BULK_JOBS}, bulk`],
  rival: ['rival: Koa + BullMQ + tfjs', ''],
  pollRival: ['rival: Koa + BullMQ + tfjs', ', polled'],
  bareRoute: ['bare Koa route', ''],
};

/** The seconds of load in which commands are counted. */
const COUNTING_SECONDS = 0.5;

/** Returns a system under the load of its clients. */
export function loaded(load: Load, pollMs: number, loading: Loading): Subject {
  const { id, protocol, system, inFlight, counted } = loading;
  const { origin, apiKey, redis } = system;
  const [name, how] = NAMES[protocol];
  const ask = (seconds: number) => load.ask({ protocol, origin, apiKey, pollMs, inFlight, seconds });
  const redisPids = redis?.pid === undefined ? [] : [redis.pid];
  return {
    row: { id, name, detail: `${inFlight} in flight${how}`, unit: 'jobs', samples: [] },
    async measure(seconds) {
      const groups = [[...system.pids, ...redisPids], redisPids, system.pids.slice(0, 1)];
      const { result, cpuMs, others } = await metered(groups, () => ask(seconds));
      const { jobs, p50Ms, p99Ms, batchSize, pollsPerJob, wrong, firstFault } = result;
      const [all, inRedis, inApi] = cpuMs.map((ms) => (ms === null ? null : ms / jobs));
      return {
        perSecond: jobs / result.seconds,
        p50Ms,
        p99Ms,
        batchSize,
        wrong,
        firstFault,
        others,
        cpuMsPerJob: all ?? null,
        redisCpuMsPerJob: redis ? (inRedis ?? null) : null,
        apiCpuMsPerJob: inApi ?? null,
        ...(pollsPerJob > 0 && { pollsPerJob }),
        memoryMb: memoryMbOf(system.pids),
        redisMb: redis && memoryMbOf(redisPids),
        ...(counted && redis && (await countedIn(redis.port, ask))),
      };
    },
  };
}

async function countedIn(port: number, ask: (seconds: number) => Promise<LoadResult>) {
  const [{ jobs }, { scripts, inScripts }] = await countCommands(port, () => ask(COUNTING_SECONDS));
  return { scriptsPerJob: scripts / jobs, scriptCommandsPerJob: inScripts / jobs };
}

/** Returns bare BullMQ, with the row and with an id as payload. */
export async function bareQueue(site: Site, inFlight: number): Promise<Subject[]> {
  const redis = await openRedisFor(site, 'bullmq');
  const queue = openOn<QueueOrder, QueueResult>(site, './bullmq.js');
  const subject = (id: RowId, payload: QueueOrder['payload'], detail: string): Subject => ({
    row: { id, name: 'bare BullMQ, add + process', detail, unit: 'jobs', samples: [] },
    async measure(seconds) {
      const order: QueueOrder = { redisUrl: redis.url, payload, inFlight, seconds };
      const { result, ...used } = await metered([[queue.pid, redis.pid ?? 0]], () => queue.ask(order));
      return sampleOf(result.jobs, result.seconds, used);
    },
  });
  return [subject('queueRow', 'row', '784 numbers as JSON'), subject('queueId', 'id', 'an id')];
}

/** Returns bare tfjs, row by row and in batches. */
export function bareBackend(site: Site): Subject[] {
  const backend = openOn<BackendOrder, BackendResult>(site, './bare-backend.js');
  const subject = (id: RowId, batchSize: number): Subject => ({
    row: { id, name: 'bare tfjs, wasm', detail: `batch ${batchSize}`, unit: 'rows', samples: [] },
    async measure(seconds) {
      const { result, ...used } = await metered([[backend.pid]], () => backend.ask({ batchSize, seconds }));
      return sampleOf(result.rows, result.seconds, used);
    },
  });
  return [subject('backend1', 1), subject('backend32', 32)];
}

/** Forks a measurer on the Node that is measured; it ends with the site. */
export function openOn<Order extends object, Result>(site: Site, file: string): Measurer<Order, Result> {
  return closedWith(site, openMeasurer<Order, Result>(new URL(file, import.meta.url), site.node));
}

/** Forks the load generator, which is not measured. */
export function openLoad(site: Site): Load {
  return closedWith(site, openMeasurer<LoadOrder, LoadResult>(new URL('./load.js', import.meta.url)));
}

function closedWith<Order, Result>(site: Site, measurer: Measurer<Order, Result>): Measurer<Order, Result> {
  site.defer(() => measurer.close());
  return measurer;
}

function sampleOf(count: number, seconds: number, { cpuMs: [ms], others }: Metered): Sample {
  return { perSecond: count / seconds, cpuMsPerJob: ms == null ? null : ms / count, others };
}

interface Metered {
  /** Processor time of each group of processes. */
  cpuMs: (number | null)[];
  others: number | null;
}

/** Does something and tells how much processor time each group of processes took meanwhile, and who is not of this bench. */
async function metered<T>(groups: readonly (readonly number[])[], act: () => Promise<T>) {
  const read = () => ({ cpuMs: [...groups, [process.pid]].map(cpuMsOf), ...coreTimes() });
  const before = read();
  const result = await act();
  const after = read();
  const cpuMs = after.cpuMs.map((ms, i) => (ms === null ? null : ms - (before.cpuMs[i] ?? 0)));
  const ours = cpuMs.pop() ?? null;
  const busyMs = after.busyMs - before.busyMs;
  const others = ours === null ? null : Math.max(0, busyMs - ours) / (after.totalMs - before.totalMs);
  return { result, cpuMs, others } satisfies Metered & { result: T };
}

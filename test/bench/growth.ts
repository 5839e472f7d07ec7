/**
 * `npm run bench:growth -- [--levels N,N] [--rounds N] [--out DIR]`
 *
 * Measures what a job costs while others wait: the latency of a submit and of a start, and Redis' memory for each queued
 * job, with 1,000 to 1,000,000 jobs queued. Every level has a Redis of its own, filled beforehand; the rounds take the levels in
 * turn, and a ratio is taken within a round. The core is called without HTTP, so that nothing hides what grows.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock as clock, sleep, toTimestamp } from '../../shared/base/clock.js';
import { list } from '../../shared/base/config.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { loadConfig } from '../../shared/contract/config.js';
import { newId } from '../../shared/contract/ids.js';
import { PRIORITIES } from '../../shared/contract/job.js';
import { type Core, composeCore } from '../../shared/core/compose.js';
import type { Started } from '../../shared/core/jobs/executions.js';
import { openRedis, type Redis } from '../../shared/redis/connect.js';
import { idleConnections } from '../support/connections.js';
import { settleJobs, startJobs } from '../support/turns.js';
import { median, quantile, table } from './figures.js';
import { machineFacts } from './machine.js';
import { onSite, type Site, tell, writeResult } from './site.js';
import { openRedisFor } from './systems.js';

const { values } = parseArgs({
  options: {
    levels: { type: 'string', default: '1000,10000,100000,1000000' },
    rounds: { type: 'string', default: '10' },
    out: { type: 'string', default: 'test/bench/results' },
  },
});

const PROBES = 320;
const BATCH = 32;
/** Submits under way at once while a level is filled. */
const FILLING = 2000;
const INPUT = Buffer.alloc(64, 1);
const TENANTS = 50;
const SHARE = { maxInstances: BATCH, maxBytes: 1e9 };
const END = { error: null, usageMs: 1, timings: null };
const OUTPUT = { inline: INPUT, blob: null };

interface Level {
  queued: number;
  redis: Redis;
  core: Core;
  bytesPerJob: number;
  samples: Sample[];
}

/** Milliseconds. */
interface Sample {
  submitP50: number;
  submitP99: number;
  /** The latency of a call that starts up to `BATCH` jobs. */
  startP50: number;
}

let submitted = 0;

await onSite(measureAndReport);

async function measureAndReport(site: Site): Promise<void> {
  const levels: Level[] = [];
  for (const text of list(values.levels)) levels.push(await openLevel(site, Number(text)));
  for (let round = 1; round <= Number(values.rounds); round++) {
    tell(`Round ${round} of ${values.rounds} …`);
    for (const level of levels) level.samples.push(await measure(level));
  }
  publish(levels, machineFacts(site.program.origin));
}

async function openLevel(site: Site, queued: number): Promise<Level> {
  const server = await openRedisFor(site, `queued-${queued}`);
  const redis = await openRedis(server.url, 'work', (error) => tell(String(error)));
  site.defer(async () => redis.disconnect());
  const config = {
    ...loadConfig({}),
    SLUICE_KEY_PREFIX: '{growth}',
    SLUICE_MAX_QUEUED_PER_TENANT: Number.MAX_SAFE_INTEGER,
    SLUICE_MAX_QUEUED_PER_MODEL: Number.MAX_SAFE_INTEGER,
  };
  const blobs = await openFileBlobs(join(site.folder, 'blobs'), clock);
  const onError = (_: string, error: unknown) => tell(String(error));
  const core = composeCore(config, idleConnections(redis, blobs, { onError }));
  const level: Level = { queued, redis, core, bytesPerJob: 0, samples: [] };
  tell(`Queueing ${queued} jobs …`);
  const before = await usedMemory(redis);
  for (let left = queued; left > 0 && !site.signal.aborted; left -= FILLING) {
    await Promise.all(Array.from({ length: Math.min(left, FILLING) }, () => submit(core)));
  }
  await rewritten(redis);
  level.bytesPerJob = ((await usedMemory(redis)) - before) / queued;
  return level;
}

async function submit(core: Core): Promise<void> {
  const number = submitted++;
  await core.jobWriter.write({
    spec: {
      id: newId('job', clock.now()),
      tenant: `tenant-${number % TENANTS}`,
      model: 'm',
      version: 1,
      alias: 'latest',
      priority: PRIORITIES[number % PRIORITIES.length] ?? 'standard',
      instances: 1,
      timeoutSeconds: 300,
      allowPartial: false,
      metadata: {},
      webhook: null,
      retryOf: null,
    },
    ttlSeconds: 86_400,
    input: INPUT,
  });
}

/** As many jobs wait afterwards as before. */
async function measure({ core }: Level): Promise<Sample> {
  const submits: number[] = [];
  const starts: number[] = [];
  for (let i = 0; i < PROBES; i++) submits.push(await timed(() => submit(core)));
  for (let i = 0; i < PROBES / BATCH; i++) {
    const ticket = `bench-${submitted}-${i}`;
    let jobs: Started[] = [];
    starts.push(
      await timed(async () => {
        jobs = await startJobs(core, 'm', 1, ticket, SHARE);
      }),
    );
    if (jobs.length !== BATCH) throw new Error(`${jobs.length} jobs were started, not ${BATCH}`);
    const finished = jobs.map((job) => ({ job, end: END, output: OUTPUT }));
    await settleJobs(core, 'm', 1, finished);
    await Promise.all(jobs.map(({ spec }) => core.jobs.erase(spec.tenant, spec.id)));
  }
  return {
    submitP50: quantile(submits, 0.5),
    submitP99: quantile(submits, 0.99),
    startP50: quantile(starts, 0.5),
  };
}

async function timed(act: () => Promise<void>): Promise<number> {
  const startedMs = clock.monotonic();
  await act();
  return clock.monotonic() - startedMs;
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}

/** A rewrite of the append-only file takes a core and copies memory: not while something is measured. */
async function rewritten(redis: Redis): Promise<void> {
  while (/^aof_rewrite_(in_progress|scheduled):1/m.test(await redis.info('persistence')))
    await sleep(clock, 200);
}

function publish(levels: readonly Level[], machine: Record<string, string | number>): void {
  const date = toTimestamp(clock.now());
  const [smallest] = levels;
  const ratio = (level: Level, figure: (sample: Sample) => number) =>
    median(level.samples.map((sample, i) => figure(sample) / figure(smallest?.samples[i] ?? sample)));
  const row = (level: Level) => [
    level.queued.toLocaleString('en'),
    ...(['submitP50', 'submitP99', 'startP50'] as const).flatMap((name) => [
      median(level.samples.map((sample) => sample[name])).toFixed(3),
      `${ratio(level, (sample) => sample[name]).toFixed(2)} ×`,
    ]),
    level.bytesPerJob.toFixed(0),
    `${(level.bytesPerJob / (smallest?.bytesPerJob ?? level.bytesPerJob)).toFixed(2)} ×`,
  ];
  const titles = [
    'queued',
    'submit p50 ms',
    '',
    'submit p99 ms',
    '',
    `start of ${BATCH} p50 ms`,
    '',
    'bytes a job',
    '',
  ];
  const text = [
    '# What a job costs while others wait',
    '',
    `${date}; ${Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}.`,
    `Medians of ${values.rounds} rounds; ratios to the first row, of the same round. ${PROBES} submits one after the other and`,
    `${PROBES / BATCH} starts of ${BATCH} jobs in a round, ${TENANTS} tenants, all priorities, inputs of ${INPUT.length} bytes.`,
    '',
    ...table(titles, levels.map(row)),
    '',
  ].join('\n');
  writeResult(values.out, 'growth-', date, 'md', text);
  console.log(text);
}

/**
 * A stage: one Redis, its queue, and any number of workers with a simulated device each. Jobs are queued while the model is
 * paused, more than the workers can compute, and counted while they drain: so nothing else has work meanwhile.
 */
import { join } from 'node:path';
import type { RedisServer } from '../../../deploy/local/redis/redis.js';
import { systemClock as clock, sleep } from '../../../shared/base/clock.js';
import { type Feed, openFeed, PREFIX, TENANT } from '../feed.js';
import type { Site } from '../site.js';
import { type BenchWorker, openRedisFor, startWorker } from '../systems.js';
import { coreTimes, cpuMsOf } from '../usage.js';
import { readFigures } from '../worker-figures.js';
import { BATCH, inputOf, MODEL, writeSimulatedModel } from './model.js';
import type { Sample } from './report.js';

export interface Stage {
  /** Brings so many workers up, and measures how many jobs a second they end; there are never fewer than before. */
  measure(workers: number, seconds: number): Promise<Sample>;
  stopWorkers(): Promise<void>;
}

interface EndedJob {
  id: string;
  job: number;
}

/** Batches of each worker before the time runs, queued beyond what is expected, and left in the queue at the end. */
const WARM_BATCHES = 3;
const SPARE_BATCHES = 8;
const RESERVED_BATCHES = 4;
/** Twice the workers are not more than twice as fast, but for noise. */
const MOST_GAIN = 1.3;
const END_WITHIN_MS = 60_000;
const CHECKED = 200;

/** Opens a stage whose devices take `deviceMs` for a batch. */
export async function openStage(site: Site, deviceMs: number): Promise<Stage> {
  const name = `scaling-${deviceMs}`;
  const redis = await openRedisFor(site, name);
  const dataDir = join(site.folder, `${name}-data`);
  const modelsDir = join(site.folder, `${name}-models`);
  writeSimulatedModel(modelsDir);
  const feed = await openFeed(site, redis.url, dataDir);
  const environment = {
    DEVICE_MS: String(deviceMs),
    REDIS_URL: redis.url,
    SLUICE_DATA_DIR: dataDir,
    SLUICE_MODELS_DIR: modelsDir,
    SLUICE_CACHE_DIR: join(site.folder, 'cache'),
    SLUICE_KEY_PREFIX: PREFIX,
    SLUICE_BACKEND: 'cpu',
  };
  const start = (index: number) =>
    startWorker(site, `${name}-${index}`, environment, 'test/bench/scaling/worker.js');
  return createStage({ deviceMs, redis, feed, start });
}

interface Parts {
  deviceMs: number;
  redis: RedisServer;
  feed: Feed;
  start(index: number): Promise<BenchWorker>;
}

function createStage({ deviceMs, redis, feed, start }: Parts): Stage {
  const perDevice = (BATCH * 1000) / deviceMs;
  let workers: BenchWorker[] = [];
  let fed = 0;
  const ended: EndedJob[] = [];
  let wake: () => void = () => undefined;
  /** The speed of a worker in the last measurement. */
  let lastSpeed = perDevice;

  async function submit() {
    const job = fed++;
    const submitted = await feed.submit(MODEL, 1, inputOf(job));
    void submitted.ended.then(() => {
      ended.push({ id: submitted.id, job });
      wake();
    });
    return submitted;
  }

  /** Resolves with the time at which so many jobs have ended; undefined when that takes longer. */
  async function untilEnded(jobs: number, withinMs: number): Promise<number | undefined> {
    const limit = new AbortController();
    const late = sleep(clock, withinMs, limit.signal).then(() => undefined);
    const reached = new Promise<number>((resolve) => {
      wake = () => {
        if (ended.length >= jobs) resolve(clock.monotonic());
      };
      wake();
    });
    const at = await Promise.race([reached, late]);
    limit.abort();
    return at;
  }

  async function moreEnded(jobs: number): Promise<number> {
    const at = await untilEnded(ended.length + jobs, END_WITHIN_MS);
    if (at === undefined) throw new Error(`fewer than ${jobs} jobs ended within ${END_WITHIN_MS / 1000} s`);
    return at;
  }

  async function fill(count: number, seconds: number): Promise<void> {
    const speed = Math.min(perDevice, lastSpeed * MOST_GAIN);
    const needed = Math.ceil(count * (speed * seconds + (WARM_BATCHES + SPARE_BATCHES) * BATCH));
    const left = fed - ended.length;
    if (needed > left) await feed.fill(needed - left, submit);
  }

  /**
   * From the end of a batch to the end of another, so that slow devices are not cut in the middle of one. Workers that are
   * faster than the last time are measured for a shorter time, until the queue is almost empty.
   */
  async function timed(seconds: number) {
    await moreEnded(workers.length * WARM_BATCHES * BATCH);
    const [startMs, first, before] = [await moreEnded(1), ended.length, meters(redis)];
    await untilEnded(fed - workers.length * RESERVED_BATCHES * BATCH, seconds * 1000);
    const [endMs, last, after] = [await moreEnded(1), ended.length, meters(redis)];
    return { jobs: last - first, ms: endMs - startMs, before, after };
  }

  async function check(): Promise<void> {
    const step = Math.max(1, Math.floor(ended.length / CHECKED));
    for (let i = 0; i < ended.length; i += step) {
      const { id, job } = ended[i] as EndedJob;
      const found = await feed.core.jobs.getWithOutput(TENANT, id);
      if (!found?.output?.equals(inputOf(job))) throw new Error(`job ${job} has the wrong answer`);
    }
  }

  return {
    async measure(count, seconds) {
      const more = Array.from({ length: count - workers.length }, (_, i) => start(workers.length + i));
      workers.push(...(await Promise.all(more)));
      await feed.pause(MODEL);
      await fill(count, seconds);
      const figures = await sumOf(workers);
      await feed.resume(MODEL);
      const { jobs, ms, before, after } = await timed(seconds);
      const { failed, instances, batches } = await sumOf(workers);
      if (failed > 0) throw new Error(`${failed} jobs failed`);
      await check();
      const perSecond = (jobs * 1000) / ms;
      lastSpeed = perSecond / count;
      const redisMs = after.redisMs - before.redisMs;
      return {
        perSecond,
        meanBatch: (instances - figures.instances) / (batches - figures.batches),
        redisMsPerJob: redisMs / jobs,
        load: {
          devices: perSecond / (count * perDevice),
          redis: redisMs / ms,
          cores: (after.busyMs - before.busyMs) / (after.totalMs - before.totalMs),
        },
      };
    },
    async stopWorkers() {
      await Promise.all(workers.map((worker) => worker.stop()));
      workers = [];
    },
  };
}

function meters({ pid }: RedisServer) {
  return { ...coreTimes(), redisMs: cpuMsOf(pid === undefined ? [] : [pid]) ?? Number.NaN };
}

async function sumOf(workers: readonly BenchWorker[]) {
  const all = await Promise.all(workers.map(readFigures));
  const sum = (of: (each: (typeof all)[number]) => number) =>
    all.reduce((total, each) => total + of(each), 0);
  return { failed: sum((f) => f.failed), instances: sum((f) => f.instances), batches: sum((f) => f.batches) };
}

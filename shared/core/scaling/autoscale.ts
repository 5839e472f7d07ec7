/**
 * Autoscale: how many workers each model needs (policy.ts), from its queues, its workers, and what is remembered of it in Redis.
 *
 * Any number of processes may ask at once. Each sees the same, and writes what it remembers whole, so that nothing counts twice.
 */
import type { Clock } from '../../base/clock.js';
import type { AutoscaleView } from '../../contract/queue-view.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { redisNow } from '../../redis/redis-time.js';
import type { Model } from '../models/model-record.js';
import type { Models } from '../models/models.js';
import type { QueueStatus } from '../queues/queue-status.js';
import type { Workers } from '../workers/workers.js';
import { advise, type QueueSight, type ScalingMemory } from './policy.js';

export interface AutoscaleDeps {
  redis: Redis;
  keys: Keys;
  models: Pick<Models, 'list'>;
  queueStatus: Pick<QueueStatus, 'stateOf'>;
  workers: Pick<Workers, 'list'>;
  targetSeconds: number;
  clock: Clock;
}

export type Autoscale = ReturnType<typeof createAutoscale>;

/** A sight is remembered when the one before is so old. */
const REMEMBER_MS = 1000;
/** Upkeep looks so often, so that rates are known to whoever asks first. */
const TEND_MS = 2000;
/** A model that nobody looks at for so long is forgotten. */
const KEPT_SECONDS = 30 * 86_400;

/** Returns what tells how many workers are needed. */
export function createAutoscale(deps: AutoscaleDeps) {
  const { redis, keys, models, queueStatus, workers, targetSeconds, clock } = deps;
  let tendedMs = Number.NEGATIVE_INFINITY;

  /** Returns the scaling of these models, in their order. */
  async function viewsOf(asked: readonly Model[]): Promise<AutoscaleView[]> {
    const [nowMs, serving] = await Promise.all([redisNow(redis), workers.list()]);
    return Promise.all(
      asked.map((model) => {
        const count = serving.filter(({ models: all }) =>
          all.some((each) => each.model === model.name),
        ).length;
        return viewOf(model, nowMs, count);
      }),
    );
  }

  async function viewOf(model: Model, nowMs: number, serving: number): Promise<AutoscaleView> {
    const [{ sight, oldestAgeMs }, memory] = await Promise.all([
      look(model, nowMs, serving),
      recall(model.name),
    ]);
    const { advice, memory: next } = advise(sight, memory, targetSeconds);
    if (!memory || sight.atMs - memory.last.atMs >= REMEMBER_MS) await remember(model.name, next);
    const { backlog } = sight;
    return {
      model: model.name,
      backlog,
      oldestAgeMs,
      workers: serving,
      targetDrainSeconds: targetSeconds,
      ...advice,
    };
  }

  async function look({ name, versions }: Model, atMs: number, serving: number) {
    const numbers = versions.map(({ manifest }) => manifest.version);
    const [{ paused, versions: queues }, counts] = await Promise.all([
      queueStatus.stateOf(name, numbers),
      Promise.all(numbers.map((version) => redis.hmget(keys.queue(name, version), 'submitted', 'started'))),
    ]);
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    const sight: QueueSight = {
      atMs,
      backlog: sum(queues.map(({ queued }) => queued)),
      batches: sum(
        queues.map(({ queued }, i) => Math.ceil(queued / (versions[i]?.manifest.batching.maxBatchSize ?? 1))),
      ),
      submitted: sum(counts.map(([submitted]) => Number(submitted))),
      started: sum(counts.map(([, started]) => Number(started))),
      workers: serving,
      isPaused: paused,
    };
    return { sight, oldestAgeMs: Math.max(0, ...queues.map(({ nextAgeMs }) => nextAgeMs ?? 0)) };
  }

  async function recall(model: string): Promise<ScalingMemory | null> {
    const text = await redis.get(keys.scaling(model));
    return text === null ? null : (JSON.parse(text) as ScalingMemory);
  }

  async function remember(model: string, memory: ScalingMemory): Promise<void> {
    const key = keys.scaling(model);
    await redis.set(key, JSON.stringify(memory), 'EX', KEPT_SECONDS);
    // A model that was deleted meanwhile leaves nothing.
    if ((await redis.exists(keys.model(model))) === 0) await redis.del(key);
  }

  /** Returns the scaling of all models. */
  async function list(): Promise<AutoscaleView[]> {
    return viewsOf(await models.list());
  }

  /** Looks at all models when it is time to. */
  async function tend(): Promise<void> {
    if (clock.monotonic() - tendedMs < TEND_MS) return;
    tendedMs = clock.monotonic();
    await list();
  }

  return { list, viewsOf, tend };
}

/**
 * Version outcomes: how many jobs of each version succeeded and failed, and how long their batches computed.
 *
 * A worker counts the jobs that it settles and writes its counts twice a second. A worker that is killed loses half a second of
 * them, which does not matter to a judgement over many jobs.
 */
import type { Clock } from '../../base/clock.js';
import { sizeClassOf, timeBucketOf, type VersionOutcomes } from '../../contract/models/canary-test.js';
import { versionKey } from '../../contract/models/model-ref.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';

export interface OutcomeCounter {
  /** Counts one job; `batch` is null when it was in none. */
  count(model: string, version: number, status: 'succeeded' | 'failed', batch: JobBatch | null): void;
  /** Stops, and writes what was counted. */
  close(): Promise<void>;
}

/** The batch of a job. A job in several batches has one that is like them. */
export interface JobBatch {
  /** The number of instances. */
  size: number;
  computeMs: number;
}

interface CountedVersion {
  model: string;
  version: number;
  /** The jobs by field. */
  fields: Map<string, number>;
}

const WRITE_MS = 500;

export type VersionOutcomesStore = ReturnType<typeof createVersionOutcomes>;

/** Returns the counts of versions. */
export function createVersionOutcomes({ redis, keys, clock }: { redis: Redis; keys: Keys; clock: Clock }) {
  const addCounts = loadScript(redis, 'add-counts');

  /** Begins to count what this process settles. */
  function startCounting(onError: (kind: string, error: unknown) => void): OutcomeCounter {
    let counted = new Map<string, CountedVersion>();

    async function write(): Promise<void> {
      const all = counted;
      counted = new Map();
      await Promise.all(
        [...all.values()].map(({ model, version, fields }) =>
          addCounts(
            {
              countsKey: keys.versionOutcomes(model, version),
              modelKey: keys.model(model),
              numbersKey: keys.versionNumbers,
              model,
              version,
            },
            [...fields].map(([field, count]) => ({ field, count })),
          ),
        ),
      );
    }

    const stop = clock.every(
      WRITE_MS,
      () => void write().catch((error: unknown) => onError('outcomes', error)),
    );

    return {
      count(model, version, status, batch) {
        const key = versionKey(model, version);
        const { fields } = counted.get(key) ?? { fields: new Map<string, number>() };
        counted.set(key, { model, version, fields });
        const timed = batch ? [`ms:${sizeClassOf(batch.size)}:${timeBucketOf(batch.computeMs)}`] : [];
        for (const field of [status, ...timed]) fields.set(field, (fields.get(field) ?? 0) + 1);
      },
      async close() {
        stop();
        await write();
      },
    };
  }

  /** Returns the counts of a version since a canary began beside it. */
  async function read(model: string, version: number): Promise<VersionOutcomes> {
    const {
      succeeded = '0',
      failed = '0',
      ...rest
    } = await redis.hgetall(keys.versionOutcomes(model, version));
    const times = new Map<number, Map<number, number>>();
    for (const [field, jobs] of Object.entries(rest)) {
      const [, size, bucket] = field.split(':').map(Number) as [number, number, number];
      const ofSize = times.get(size) ?? new Map<number, number>();
      times.set(size, ofSize.set(bucket, Number(jobs)));
    }
    return { succeeded: Number(succeeded), failed: Number(failed), times };
  }

  return { startCounting, read };
}

/**
 * Outcomes: how many jobs of each version ended well or badly, and how long they computed.
 *
 * Counted where they are settled and written twice a second: whoever judges by them looks at many jobs, so the half second
 * that a killed worker loses is no matter.
 */
import type { Clock } from '../../base/clock.js';
import { sizeClassOf, timeBucketOf, type VersionOutcomes } from '../../contract/models/canary-test.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

export interface OutcomeCounter {
  /** `batch`: null when it was in none. */
  count(model: string, version: number, status: 'succeeded' | 'failed', batch: JobBatch | null): void;
  /** Writes what was counted. */
  close(): Promise<void>;
}

/** Of a job in several batches one like them. */
export interface JobBatch {
  /** Instances. */
  size: number;
  computeMs: number;
}

const WRITE_MS = 500;

export type VersionOutcomesStore = ReturnType<typeof createVersionOutcomes>;

export function createVersionOutcomes({ redis, keys, clock }: { redis: Redis; keys: Keys; clock: Clock }) {
  /** Counts what this process settles, from now on. */
  function startCounting(onError: (kind: string, error: unknown) => void): OutcomeCounter {
    let counted = new Map<string, Map<string, number>>();

    async function write(): Promise<void> {
      const all = counted;
      counted = new Map();
      await Promise.all(
        [...all].flatMap(([key, fields]) =>
          [...fields].map(([field, count]) => redis.hincrby(key, field, count)),
        ),
      );
    }

    const stop = clock.every(
      WRITE_MS,
      () => void write().catch((error: unknown) => onError('outcomes', error)),
    );

    return {
      count(model, version, status, batch) {
        const key = keys.versionOutcomes(model, version);
        const fields = counted.get(key) ?? new Map<string, number>();
        counted.set(key, fields);
        const timed = batch ? [`ms:${sizeClassOf(batch.size)}:${timeBucketOf(batch.computeMs)}`] : [];
        for (const field of [status, ...timed]) fields.set(field, (fields.get(field) ?? 0) + 1);
      },
      async close() {
        stop();
        await write();
      },
    };
  }

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

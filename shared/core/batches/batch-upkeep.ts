/**
 * The upkeep of batches: what was lost is repaired, what is over is forgotten. Any number of processes may do it at once.
 */
import type { BlobStore } from '../../blobs/blobs.js';
import { type BatchSpec, type BatchStatus, isEnded } from '../../contract/batch.js';
import type { BatchQueue } from '../../queue/queues.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { redisNow } from '../../redis/redis-time.js';
import { sweepOrphans } from '../sweep-orphans.js';
import { BATCH_FIELDS, BATCHES_FOLDER, decodeBatch } from './batch-record.js';
import { CHECK_BATCH_MS } from './batches.js';

export interface BatchUpkeepDeps {
  redis: Redis;
  keys: Keys;
  blobs: BlobStore;
  queue: Pick<BatchQueue, 'add'>;
}

export type BatchUpkeep = ReturnType<typeof createBatchUpkeep>;

/** The most records that one call looks at. */
const PAGE = 100;

/** Returns the upkeep of batches. */
export function createBatchUpkeep({ redis, keys, blobs, queue }: BatchUpkeepDeps) {
  /** Calls drivers to open batches again and forgets batches whose time is over; returns how many it looked at. */
  async function tend(): Promise<number> {
    const now = await redisNow(redis);
    const ids = await redis.zrangebyscore(keys.batches, '-inf', now, 'LIMIT', 0, PAGE);
    await Promise.all(ids.map((id) => look(id, now)));
    return ids.length;
  }

  async function look(id: string, now: number): Promise<void> {
    const record = decodeBatch(await redis.hmget(keys.batch(id), ...BATCH_FIELDS));
    if (!record) return void (await redis.zrem(keys.batches, id));
    if (isEnded(record.status)) return forget(record.spec);
    await queue.add(id);
    await redis.zadd(keys.batches, 'XX', now + CHECK_BATCH_MS, id);
  }

  async function forget({ id, tenant }: BatchSpec): Promise<void> {
    await redis
      .multi()
      .del(keys.batch(id))
      .zrem(keys.tenantBatches(tenant), id)
      .zrem(keys.batches, id)
      .exec();
  }

  /** Removes parts of batches that are gone or have ended; returns how many blobs. */
  function sweep(): Promise<number> {
    const isKept = async (path: string) => {
      const [id = ''] = path.split('/');
      const status = (await redis.hget(keys.batch(id), 'status')) as BatchStatus | null;
      return status !== null && !isEnded(status);
    };
    return sweepOrphans({ redis, blobs, folder: BATCHES_FOLDER, isKept });
  }

  return { tend, sweep };
}

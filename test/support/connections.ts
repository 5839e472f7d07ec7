/**
 * Connections of a core that runs without workers: nobody takes its tickets or drives its batches.
 */
import { systemClock } from '../../shared/base/clock.js';
import type { BlobStore } from '../../shared/blobs/blobs.js';
import type { CoreConnections } from '../../shared/core/compose.js';
import type { Redis } from '../../shared/redis/connect.js';

/** Returns connections on `redis` and `blobs`; `changes` replaces some of them. */
export function idleConnections(
  redis: Redis,
  blobs: BlobStore,
  changes: Partial<CoreConnections> = {},
): CoreConnections {
  return {
    redis,
    blobs,
    transport: { add: async () => undefined, count: async () => 0, drop: async () => [] },
    batchQueue: { add: async () => undefined },
    clock: systemClock,
    onError: () => undefined,
    ...changes,
  };
}

/**
 * The nouns around a job, put together from what is handed in. Opens nothing.
 */
import type { Clock } from '../base/clock.js';
import type { BlobStore } from '../blobs/blobs.js';
import type { Redis } from '../redis/connect.js';
import type { Keys } from '../redis/keys.js';
import { createFiles } from './files/files.js';
import { createDueIndex } from './jobs/due-index.js';
import { createExecutions } from './jobs/executions.js';
import type { JobLimits } from './jobs/job-limits.js';
import { createJobResults } from './jobs/job-results.js';
import { createJobs } from './jobs/jobs.js';
import { createPayloads } from './jobs/payloads.js';
import { createPredictionCache } from './jobs/prediction-cache.js';
import { createSettle } from './jobs/settle.js';
import { createCrashBlocklist } from './models/crash-blocklist.js';
import { createShadows } from './models/shadows.js';
import { createQueueStatus } from './queues/queue-status.js';
import { createWakeTickets, type Transport } from './queues/wake-tickets.js';

export interface CoreDeps {
  clock: Clock;
  redis: Redis;
  keys: Keys;
  transport: Transport;
  blobs: BlobStore;
  limits: JobLimits;
  onError: (kind: string, error: unknown) => void;
}

export type Core = ReturnType<typeof createCore>;

export function createCore({ clock, redis, keys, transport, blobs, limits, onError }: CoreDeps) {
  const wakeTickets = createWakeTickets({ redis, keys, transport, onError });
  const settleJobs = createSettle({ redis, keys });
  const files = createFiles({ redis, keys, blobs, clock, retentionSeconds: limits.fileRetentionSeconds });
  const results = createJobResults(files);
  const payloads = createPayloads(blobs, results);
  const predictionCache = createPredictionCache({ redis, keys });
  const jobs = createJobs({ redis, keys, wakeTickets, settleJobs, payloads, predictionCache, limits });
  return {
    wakeTickets,
    jobs,
    executions: createExecutions({ redis, keys, wakeTickets, settleJobs, limits }),
    files,
    results,
    shadows: createShadows({ redis, keys, jobs, clock }),
    payloads,
    predictionCache,
    crashBlocklist: createCrashBlocklist({ redis, keys, clock }),
    queueStatus: createQueueStatus({ redis, keys, wakeTickets }),
    dueIndex: createDueIndex({ redis, keys, jobs, wakeTickets, transport, payloads, limits }),
  };
}

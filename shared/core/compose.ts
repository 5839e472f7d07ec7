/**
 * The nouns around a job, put together from what is handed in. Opens nothing.
 */
import type { Clock } from '../base/clock.js';
import type { BlobStore } from '../blobs/blobs.js';
import type { Redis } from '../redis/connect.js';
import type { Keys } from '../redis/keys.js';
import { createFiles } from './files/files.js';
import { createAgenda } from './jobs/due-index.js';
import { createExecutions } from './jobs/executions.js';
import type { JobLimits } from './jobs/job-limits.js';
import { createResults } from './jobs/job-results.js';
import { createJobs } from './jobs/jobs.js';
import { createPayloads } from './jobs/payloads.js';
import { createAnswers } from './jobs/prediction-cache.js';
import { createEndings } from './jobs/settle.js';
import { createPoisons } from './models/crash-blocklist.js';
import { createShadows } from './models/shadows.js';
import { createBacklog } from './queues/queue-status.js';
import { createTickets, type Transport } from './queues/wake-tickets.js';

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
  const tickets = createTickets({ redis, keys, transport, onError });
  const endings = createEndings({ redis, keys });
  const files = createFiles({ redis, keys, blobs, clock, retentionSeconds: limits.fileRetentionSeconds });
  const results = createResults(files);
  const payloads = createPayloads(blobs, results);
  const answers = createAnswers({ redis, keys });
  const jobs = createJobs({ redis, keys, tickets, endings, payloads, answers, limits });
  return {
    tickets,
    jobs,
    executions: createExecutions({ redis, keys, tickets, endings, limits }),
    files,
    results,
    shadows: createShadows({ redis, keys, jobs, clock }),
    payloads,
    answers,
    poisons: createPoisons({ redis, keys, clock }),
    backlog: createBacklog({ redis, keys, tickets }),
    agenda: createAgenda({ redis, keys, jobs, tickets, transport, payloads, limits }),
  };
}

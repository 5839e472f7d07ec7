/**
 * The nouns around a job, put together from what is handed in. Opens nothing.
 */
import type { Redis } from '../base/redis.js';
import type { BlobStore } from '../blobs/blobs.js';
import { createAgenda } from './agenda.js';
import { createBacklog } from './backlog.js';
import { createEndings } from './endings.js';
import { createExecutions } from './executions.js';
import { createJobs } from './jobs.js';
import type { Keys } from './keys.js';
import type { JobLimits } from './limits.js';
import { createPayloads } from './payloads.js';
import { createTickets, type Transport } from './tickets.js';

export interface CoreDeps {
  redis: Redis;
  keys: Keys;
  transport: Transport;
  blobs: BlobStore;
  limits: JobLimits;
  onError: (kind: string, error: unknown) => void;
}

export type Core = ReturnType<typeof createCore>;

export function createCore({ redis, keys, transport, blobs, limits, onError }: CoreDeps) {
  const tickets = createTickets({ redis, keys, transport, onError });
  const endings = createEndings({ redis, keys });
  const payloads = createPayloads(blobs);
  const jobs = createJobs({ redis, keys, tickets, endings, payloads, limits });
  return {
    tickets,
    jobs,
    executions: createExecutions({ redis, keys, tickets, endings, limits }),
    payloads,
    backlog: createBacklog({ redis, keys, tickets }),
    agenda: createAgenda({ redis, keys, jobs, tickets, transport, payloads, limits }),
  };
}

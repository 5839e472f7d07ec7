/**
 * The nouns around a job, put together from what is handed in. Opens nothing.
 */
import type { Clock } from '../base/clock.js';
import type { Redis } from '../base/redis.js';
import type { BlobStore } from '../blobs/blobs.js';
import { createAgenda } from './agenda.js';
import { createAnswers } from './answers.js';
import { createBacklog } from './backlog.js';
import { createEndings } from './endings.js';
import { createExecutions } from './executions.js';
import { createFiles } from './files.js';
import { createJobs } from './jobs.js';
import type { Keys } from './keys.js';
import type { JobLimits } from './limits.js';
import { createPayloads } from './payloads.js';
import { createPoisons } from './poisons.js';
import { createResults } from './results.js';
import { createShadows } from './shadows.js';
import { createTickets, type Transport } from './tickets.js';

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

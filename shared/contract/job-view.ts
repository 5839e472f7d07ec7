/** The view of a job that callers get. Its schema is the source of its type and stands in the OpenAPI document. */
import { toTimestamp, toTimestampOrNull } from '../base/clock.js';
import { JOB_STATUSES, type JobRecord, jobErrorSchema, PRIORITIES } from './job.js';
import { exactly, type JsonSchema, NULLABLE_TIME, orNull, TEXTS, TIME, type TypeOf } from './schema.js';
import { webhookSchema } from './webhooks/events.js';

/** The version that a job or a batch runs on, and the alias by which its caller named it. */
export const modelOfJobSchema = exactly({
  name: { type: 'string' },
  version: { type: 'integer' },
  alias: { type: ['string', 'null'] },
});

const timingsSchema = exactly({
  queueMs: { type: 'number', description: 'From `createdAt` to `startedAt`.' },
  batchWaitMs: { type: 'number', description: 'In a forming batch.' },
  computeMs: { type: 'number', description: 'In the backend.' },
  totalMs: { type: 'number' },
  batchSize: {
    type: 'integer',
    description: 'Instances in the batch, the largest if the job ran in slices.',
  },
  backend: { type: 'string' },
});

const predictionsSchema = {
  description: 'One element per instance; a file of them (JSON) where they are more than 256 KiB.',
  anyOf: [
    { type: 'array', items: {} },
    exactly({ file: { type: 'string' }, url: { type: 'string' } }),
    { type: 'null' },
  ],
} as const satisfies JsonSchema;

export const jobViewSchema = exactly({
  id: { type: 'string' },
  object: { const: 'job' },
  status: { enum: JOB_STATUSES },
  model: modelOfJobSchema,
  createdAt: TIME,
  startedAt: NULLABLE_TIME,
  finishedAt: NULLABLE_TIME,
  retryOf: { type: ['string', 'null'] },
  expiresAt: TIME,
  deletedAfter: NULLABLE_TIME,
  priority: { enum: PRIORITIES },
  attempts: { type: 'integer' },
  history: {
    type: 'array',
    description: 'Attempts that failed and were followed by another.',
    items: exactly({
      attempt: { type: 'integer' },
      startedAt: TIME,
      finishedAt: TIME,
      error: jobErrorSchema,
    }),
  },
  queuePosition: { type: ['integer', 'null'], description: 'How many jobs start before it.' },
  estimatedStartAt: NULLABLE_TIME,
  progress: {
    ...orNull(exactly({ done: { type: 'integer' }, total: { type: 'integer' } })),
    description: 'Instances computed, while a job runs that is larger than a batch.',
  },
  cached: { type: 'boolean', description: 'The predictions were computed for an equal job.' },
  predictions: predictionsSchema,
  error: orNull(jobErrorSchema),
  metadata: TEXTS,
  webhook: orNull(webhookSchema),
  usage: exactly({ instances: { type: 'integer' }, computeMs: { type: 'number' } }),
  timings: orNull(timingsSchema),
  links: exactly({ self: { type: 'string' }, cancel: { type: 'string' }, events: { type: 'string' } }),
});

export type JobView = TypeOf<typeof jobViewSchema>;
export type Predictions = NonNullable<JobView['predictions']>;

/** The place of a queued job. */
export interface QueuePlace {
  /** How many jobs start before it. */
  position: number;
  /** Milliseconds since the Unix epoch; null while no rate of starting is known. */
  startsAt: number | null;
}

/** Returns the view of a job for callers. `predictions` and `place` are looked up elsewhere. */
export function presentJob(
  record: JobRecord,
  predictions: Predictions | null = null,
  place: QueuePlace | null = null,
): JobView {
  const { spec, end } = record;
  return {
    id: spec.id,
    object: 'job',
    status: record.status,
    model: { name: spec.model, version: spec.version, alias: spec.alias },
    createdAt: toTimestamp(record.createdAt),
    startedAt: toTimestampOrNull(record.startedAt),
    finishedAt: toTimestampOrNull(record.finishedAt),
    retryOf: spec.retryOf,
    expiresAt: toTimestamp(record.expiresAt),
    deletedAfter: toTimestampOrNull(record.deletedAfter),
    priority: spec.priority,
    attempts: record.attempts,
    history: record.history.map((past) => ({
      ...past,
      startedAt: toTimestamp(past.startedAt),
      finishedAt: toTimestamp(past.finishedAt),
    })),
    queuePosition: place?.position ?? null,
    estimatedStartAt: toTimestampOrNull(place?.startsAt ?? null),
    progress: record.progress,
    predictions,
    cached: end?.cached ?? false,
    error: end?.error ?? null,
    metadata: spec.metadata,
    webhook: spec.webhook,
    usage: { instances: spec.instances, computeMs: round(end?.usageMs ?? 0) },
    timings: presentTimings(record),
    links: {
      self: `/v1/jobs/${spec.id}`,
      cancel: `/v1/jobs/${spec.id}/cancel`,
      events: `/v1/jobs/${spec.id}/events`,
    },
  };
}

function presentTimings(record: JobRecord): JobView['timings'] {
  const measured = record.end?.timings;
  if (!measured || record.startedAt === null || record.finishedAt === null) return null;
  return {
    queueMs: record.startedAt - record.createdAt,
    batchWaitMs: round(measured.batchWaitMs),
    computeMs: round(measured.computeMs),
    totalMs: record.finishedAt - record.createdAt,
    batchSize: measured.batchSize,
    backend: measured.backend,
  };
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

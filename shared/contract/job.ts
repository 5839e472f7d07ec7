/**
 * A job: the request of a caller, the record in Redis, and the view that callers get.
 *
 *   queued -> running -> succeeded | failed
 *   queued | running -> canceled        queued -> expired
 *
 * The last four are terminal and never change.
 */

import { toTimestamp, toTimestampOrNull } from '../base/clock.js';
import { ERRORS, type ErrorCode } from './errors.js';
import type { JsonSchema, TypeOf } from './schema.js';
import { webhookSchema } from './webhooks/events.js';

export const JOB_STATUSES = ['queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];
export type TerminalStatus = Exclude<JobStatus, 'queued' | 'running'>;

/** Tells whether a job with this status has ended. */
export function isTerminal(status: JobStatus): status is TerminalStatus {
  return status !== 'queued' && status !== 'running';
}

/** Priorities in the order in which their jobs start. */
export const PRIORITIES = ['interactive', 'standard', 'bulk'] as const;
export type Priority = (typeof PRIORITIES)[number];

export const DEFAULT_TTL_SECONDS = 6 * 3600;
export const DEFAULT_TIMEOUT_SECONDS = 300;
export const MAX_CACHE_SECONDS = 7 * 86_400;
export const MAX_RETENTION_SECONDS = 30 * 86_400;
/** The most jobs of one bulk submit. */
export const MAX_BULK_JOBS = 1000;
/** The tenant of copies for a shadow. No API key belongs to it, so nobody sees its jobs. */
export const SHADOW_TENANT = '~shadow';

export const submitSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['model', 'instances'],
  properties: {
    model: {
      type: 'string',
      minLength: 1,
      maxLength: 140,
      description: '`mnist`, `mnist@3` (version) or `mnist@stable` (alias).',
    },
    instances: { type: 'array', minItems: 1, description: "Rows in the model's input signature." },
    parameters: { type: 'object', maxProperties: 0, description: 'No bundled model takes parameters.' },
    webhook: webhookSchema,
    priority: { enum: PRIORITIES },
    ttlSeconds: {
      type: 'integer',
      minimum: 1,
      maximum: 7 * 86_400,
      description: 'Expires if not started by then.',
    },
    timeoutSeconds: { type: 'integer', minimum: 1, maximum: 3600, description: 'Limit for one execution.' },
    allowPartial: { type: 'boolean' },
    cacheSeconds: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_CACHE_SECONDS,
      description:
        'Takes the predictions of an equal job of the same version, if they are kept; else keeps those of this one for so long.',
    },
    retentionSeconds: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_RETENTION_SECONDS,
      description: 'How long the job is kept once it has ended.',
    },
    metadata: {
      type: 'object',
      maxProperties: 16,
      propertyNames: { minLength: 1, maxLength: 64 },
      additionalProperties: { type: 'string', maxLength: 512 },
    },
  },
} as const satisfies JsonSchema;

export type Submit = TypeOf<typeof submitSchema>;

/** The part of a job that is decided at submit and never changes: one JSON text in the record. */
export interface JobSpec {
  id: string;
  tenant: string;
  model: string;
  version: number;
  alias: string | null;
  priority: Priority;
  /** Number of instances. */
  instances: number;
  timeoutSeconds: number;
  allowPartial: boolean;
  metadata: Record<string, string>;
  webhook: NonNullable<Submit['webhook']> | null;
  retryOf: string | null;
  /** Key of the blob that holds its input, where that is too large for the record. */
  inputBlob?: string;
  /** The job is a line of a batch, so endpoints get no events of it. */
  untold?: true;
  /** The job is a copy for a shadow. Its predictions are compared with those of this job and go to nobody. */
  shadowOf?: { id: string; tenant: string };
  /** The job may take the predictions of an equal job, and its own are kept for others. */
  cache?: { hash: string; seconds: number };
}

export interface InstanceError {
  index: number;
  code: ErrorCode;
  message: string;
}

export interface JobError {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  instanceErrors?: InstanceError[];
}

export interface Timings {
  /** From createdAt to startedAt. */
  queueMs: number;
  /** Time in a forming batch. */
  batchWaitMs: number;
  /** Time in the backend. */
  computeMs: number;
  totalMs: number;
  /** Instances in the batch; in the largest one when the job ran in slices. */
  batchSize: number;
  backend: string;
}

/** The end of a job, without its output. */
export interface JobEnd {
  error: JobError | null;
  /** This job's share of the computing time of its batches. */
  usageMs: number;
  timings: Omit<Timings, 'queueMs' | 'totalMs'> | null;
  /** Key of the blob that holds its output, where that is too large for the record. */
  outputBlob?: string;
  /** The output was computed for an equal job. */
  cached?: true;
}

/** Times in milliseconds since the Unix epoch. */
export interface PastAttempt {
  startedAt: number;
  finishedAt: number;
  attempt: number;
  error: JobError;
}

/** How many instances have been computed, and of how many. */
export interface Progress {
  done: number;
  total: number;
}

/** The record without its input and output; times in milliseconds since the Unix epoch. */
export interface JobRecord {
  spec: JobSpec;
  status: JobStatus;
  createdAt: number;
  expiresAt: number;
  startedAt: number | null;
  finishedAt: number | null;
  deletedAfter: number | null;
  attempts: number;
  /** Counts every start, also one after the death of a worker. It is the newest fencing token. */
  starts: number;
  /** Given for a running job that runs in several slices. */
  progress: Progress | null;
  /** The ticket under which a worker took the job; null before that. */
  ticket: string | null;
  /** Attempts that failed and were followed by another. */
  history: PastAttempt[];
  end: JobEnd | null;
}

export interface JobView {
  id: string;
  object: 'job';
  status: JobStatus;
  model: { name: string; version: number; alias: string | null };
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  retryOf: string | null;
  expiresAt: string;
  deletedAfter: string | null;
  priority: Priority;
  attempts: number;
  /** Attempts that failed and were followed by another. */
  history: { attempt: number; startedAt: string; finishedAt: string; error: JobError }[];
  queuePosition: number | null;
  estimatedStartAt: string | null;
  /** Given while the job runs in several slices. */
  progress: Progress | null;
  predictions: Predictions | null;
  /** The predictions were computed for an equal job. */
  cached: boolean;
  error: JobError | null;
  metadata: Record<string, string>;
  webhook: JobSpec['webhook'];
  usage: { instances: number; computeMs: number };
  timings: Timings | null;
  links: { self: string; cancel: string; events: string };
}

/** One element per instance, or a file of them as JSON, where they are many. */
export type Predictions = unknown[] | { file: string; url: string };

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

/** Returns the error of a job; without a message it has the title of its code. */
export function jobError(code: ErrorCode, message?: string, instanceErrors?: InstanceError[]): JobError {
  return {
    code,
    message: message ?? ERRORS[code].title,
    retryable: ERRORS[code].retryable,
    ...(instanceErrors ? { instanceErrors } : {}),
  };
}

function presentTimings(record: JobRecord): Timings | null {
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

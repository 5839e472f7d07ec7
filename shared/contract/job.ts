/**
 * A job: the request of a caller and the record in Redis; job-view.ts has the view that callers get.
 *
 *   queued -> running -> succeeded | failed
 *   queued | running -> canceled        queued -> expired
 *
 * The last four are terminal and never change.
 */

import { ERROR_CODES, ERRORS, type ErrorCode } from './errors.js';
import { exactly, type JsonSchema, type TypeOf } from './schema.js';
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
    signatureName: {
      type: 'string',
      description: "Which of the version's signatures computes; the first where left out.",
    },
    outputs: {
      type: 'array',
      minItems: 1,
      uniqueItems: true,
      items: { type: 'string' },
      description: 'Only these outputs are computed; all where left out.',
    },
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
  /** The signature and the outputs that the job asks for. */
  select?: { signatureName?: string; outputs?: string[] };
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

/** The error of a job that failed; `instanceErrors` tells of the instances that did, by index. */
export const jobErrorSchema = {
  type: 'object',
  required: ['code', 'message', 'retryable'],
  additionalProperties: false,
  properties: {
    code: { enum: ERROR_CODES },
    message: { type: 'string' },
    retryable: { type: 'boolean' },
    instanceErrors: {
      type: 'array',
      items: exactly({
        index: { type: 'integer' },
        code: { enum: ERROR_CODES },
        message: { type: 'string' },
      }),
    },
  },
} as const satisfies JsonSchema;

export type JobError = TypeOf<typeof jobErrorSchema>;
export type InstanceError = NonNullable<JobError['instanceErrors']>[number];

export interface ExecutionTimings {
  /** Time in a forming batch. */
  batchWaitMs: number;
  /** Time in the backend. */
  computeMs: number;
  /** Instances in the batch; in the largest one when the job ran in slices. */
  batchSize: number;
  backend: string;
}

/** The end of a job, without its output. */
export interface JobEnd {
  error: JobError | null;
  /** This job's share of the computing time of its batches. */
  usageMs: number;
  /** Null when no execution ended the job. */
  timings: ExecutionTimings | null;
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

/** A backend can say pages. */
const MAX_MESSAGE_LENGTH = 1000;

/** Returns the error of a job; without a message it has the title of its code. Longer messages than a thousand characters are cut. */
export function jobError(code: ErrorCode, message?: string, instanceErrors?: InstanceError[]): JobError {
  return {
    code,
    message: cut(message ?? ERRORS[code].title),
    retryable: ERRORS[code].retryable,
    ...(instanceErrors && {
      instanceErrors: instanceErrors.map((each) => ({ ...each, message: cut(each.message) })),
    }),
  };
}

function cut(message: string): string {
  return message.length <= MAX_MESSAGE_LENGTH ? message : `${message.slice(0, MAX_MESSAGE_LENGTH - 1)}…`;
}

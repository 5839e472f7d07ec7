/**
 * A batch of the API: a file of jobs of one model, one job a line, worked off in the order of the lines at `bulk` priority.
 * The rows that a worker computes together are a batch, too; those stand in worker/inference/batching.
 *
 *   queued -> running -> completed | failed | expired
 *   queued | running -> canceling -> canceled
 *
 * Completed, failed, canceled and expired are terminal and never change. Whatever the end, the output file holds the
 * predictions computed until then, and the error file the reason for each other line that could be read.
 */
import { toTimestamp, toTimestampOrNull } from '../base/clock.js';
import { ERROR_CODES, type ErrorCode } from './errors.js';
import { type JobError, type JobSpec, jobErrorSchema, submitSchema, type TerminalStatus } from './job.js';
import { modelOfJobSchema } from './job-view.js';
import {
  exactly,
  type JsonSchema,
  NULLABLE_TEXT,
  NULLABLE_TIME,
  orNull,
  TEXTS,
  TIME,
  type TypeOf,
} from './schema.js';

export const BATCH_STATUSES = [
  'queued',
  'running',
  'canceling',
  'completed',
  'failed',
  'canceled',
  'expired',
] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];
export type BatchEnd = 'completed' | 'failed' | 'canceled' | 'expired';

/** The most lines of an input file; blank ones do not count. */
export const MAX_LINES = 50_000;
/** The most characters of a line's own id. */
export const MAX_CUSTOM_ID = 512;
export const DEFAULT_BATCH_TTL_SECONDS = 86_400;

const { model, metadata, ttlSeconds, instances, timeoutSeconds, allowPartial, signatureName, outputs } =
  submitSchema.properties;

export const createBatchSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['model', 'inputFile'],
  properties: {
    model,
    inputFile: {
      type: 'string',
      maxLength: 64,
      description: `Id of a file of JSON lines, ${MAX_LINES} at most.`,
    },
    ttlSeconds: { ...ttlSeconds, description: 'Expires if not worked off by then.' },
    metadata,
  },
} as const satisfies JsonSchema;

/** One line of the input file. */
export const lineSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['instances'],
  properties: {
    customId: {
      type: 'string',
      maxLength: MAX_CUSTOM_ID,
      description: 'Repeated in the line of the result.',
    },
    model: { ...model, description: 'The model of the batch, which a line need not name.' },
    instances,
    signatureName,
    outputs,
    timeoutSeconds,
    allowPartial,
  },
} as const satisfies JsonSchema;

export type CreateBatch = TypeOf<typeof createBatchSchema>;
export type BatchLine = TypeOf<typeof lineSchema>;

/** Lines by the end of their jobs. A line that is no job at all counts as failed. */
export type LineCounts = Record<TerminalStatus, number>;

export const NO_LINES: Readonly<LineCounts> = { succeeded: 0, failed: 0, canceled: 0, expired: 0 };

/** The part of a batch that is decided at the start and never changes: one JSON text in the record. */
export interface BatchSpec
  extends Pick<JobSpec, 'id' | 'tenant' | 'model' | 'version' | 'alias' | 'metadata'> {
  inputFile: string;
  /** Ids of the files that will hold the results. */
  outputFile: string;
  errorFile: string;
}

/** The first line that failed, and why. */
export interface LineFailure {
  line: number;
  customId: string | null;
  code: ErrorCode;
  message: string;
}

/** Times in milliseconds since the Unix epoch. */
export interface BatchRecord {
  spec: BatchSpec;
  status: BatchStatus;
  createdAt: number;
  expiresAt: number;
  startedAt: number | null;
  finishedAt: number | null;
  deletedAfter: number | null;
  /** Lines of the input; null until they have been counted. */
  total: number | null;
  counts: LineCounts;
  /** Tells which of its files exist. */
  files: { output: boolean; errors: boolean };
  error: JobError | null;
  /** Null while it runs, and when no line failed. */
  firstFailure: LineFailure | null;
}

/** Tells whether a batch with this status has ended. */
export function isEnded(status: BatchStatus): status is BatchEnd {
  return status !== 'queued' && status !== 'running' && status !== 'canceling';
}

const COUNT = { type: 'integer' } as const satisfies JsonSchema;

/** The view of a batch that callers get. */
export const batchViewSchema = exactly({
  id: { type: 'string' },
  object: { const: 'batch' },
  status: { enum: BATCH_STATUSES },
  model: modelOfJobSchema,
  inputFile: { type: 'string' },
  outputFile: {
    ...NULLABLE_TEXT,
    description: 'File of JSON lines, once it has ended: `{line, customId, job, predictions}`.',
  },
  errorFile: {
    ...NULLABLE_TEXT,
    description: 'File of JSON lines, of those without predictions: `{line, customId, job, status, error}`.',
  },
  counts: exactly({
    total: { type: ['integer', 'null'], description: 'Null until the lines have been counted.' },
    succeeded: COUNT,
    failed: COUNT,
    canceled: COUNT,
    expired: COUNT,
  }),
  createdAt: TIME,
  startedAt: NULLABLE_TIME,
  finishedAt: NULLABLE_TIME,
  expiresAt: TIME,
  deletedAfter: NULLABLE_TIME,
  error: orNull(jobErrorSchema),
  firstFailure: {
    ...orNull(
      exactly({
        line: COUNT,
        customId: NULLABLE_TEXT,
        code: { enum: ERROR_CODES },
        message: { type: 'string' },
      }),
    ),
    description: 'Of the lines that failed, the first, once the batch has ended.',
  },
  metadata: TEXTS,
  links: exactly({ self: { type: 'string' }, cancel: { type: 'string' } }),
});
export type BatchView = TypeOf<typeof batchViewSchema>;

/** Returns the view of a batch for callers. */
export function presentBatch({ spec, ...record }: BatchRecord): BatchView {
  return {
    id: spec.id,
    object: 'batch',
    status: record.status,
    model: { name: spec.model, version: spec.version, alias: spec.alias },
    inputFile: spec.inputFile,
    outputFile: record.files.output ? spec.outputFile : null,
    errorFile: record.files.errors ? spec.errorFile : null,
    counts: { total: record.total, ...record.counts },
    createdAt: toTimestamp(record.createdAt),
    startedAt: toTimestampOrNull(record.startedAt),
    finishedAt: toTimestampOrNull(record.finishedAt),
    expiresAt: toTimestamp(record.expiresAt),
    deletedAfter: toTimestampOrNull(record.deletedAfter),
    error: record.error,
    firstFailure: record.firstFailure,
    metadata: spec.metadata,
    links: { self: `/v1/batches/${spec.id}`, cancel: `/v1/batches/${spec.id}/cancel` },
  };
}

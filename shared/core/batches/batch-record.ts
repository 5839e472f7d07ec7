/**
 * A batch as Redis holds it, in one hash, and the blobs of its results.
 */
import {
  type BatchRecord,
  type BatchSpec,
  type BatchStatus,
  type LineCounts,
  type LineFailure,
  NO_LINES,
} from '../../contract/batch.js';
import type { JobError } from '../../contract/job.js';
import { numberOrNull } from '../jobs/job-record.js';

/** The results of some lines that follow each other: two blobs, each only if it holds something. */
export interface BatchPart {
  /** The token of the driver that wrote it: part of the blobs' names, so that no driver overwrites another's. */
  token: string;
  /** The number of the last line that it covers. */
  lastLine: number;
  output: boolean;
  errors: boolean;
  /** The first of its lines that failed. */
  failure?: LineFailure;
}

export type ResultKind = 'output' | 'errors';

/** The folder of all parts in the blob store. */
export const BATCHES_FOLDER = 'batches/';

/** The fields that every reader needs. */
export const BATCH_FIELDS = [
  'status',
  'spec',
  'createdAt',
  'expiresAt',
  'startedAt',
  'finishedAt',
  'deletedAfter',
  'total',
  'counts',
  'files',
  'error',
  'firstFailure',
] as const;

/** Returns the key of the blob that holds what a part has of one kind. */
export function partKey(id: string, index: number, token: string, kind: ResultKind): string {
  return `${BATCHES_FOLDER}${id}/${index}-${token}-${kind}`;
}

/** Returns the record of `values`, which are in the order of `BATCH_FIELDS`; null when there is no such batch. */
export function decodeBatch(values: readonly (string | null)[]): BatchRecord | null {
  const [
    status,
    spec,
    createdAt,
    expiresAt,
    startedAt,
    finishedAt,
    deletedAfter,
    total,
    counts,
    files,
    error,
    firstFailure,
  ] = values;
  if (!status || !spec) return null;
  return {
    spec: JSON.parse(spec) as BatchSpec,
    status: status as BatchStatus,
    createdAt: Number(createdAt),
    expiresAt: Number(expiresAt),
    startedAt: numberOrNull(startedAt),
    finishedAt: numberOrNull(finishedAt),
    deletedAfter: numberOrNull(deletedAfter),
    total: numberOrNull(total),
    counts: decodeCounts(counts),
    files: files ? JSON.parse(files) : { output: false, errors: false },
    error: error ? (JSON.parse(error) as JobError) : null,
    firstFailure: firstFailure ? (JSON.parse(firstFailure) as LineFailure) : null,
  };
}

/** Returns the counts of a field that may be missing. */
export function decodeCounts(text: string | null | undefined): LineCounts {
  return text ? (JSON.parse(text) as LineCounts) : { ...NO_LINES };
}

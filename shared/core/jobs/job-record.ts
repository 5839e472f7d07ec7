/**
 * A job's record as Redis holds it, in one hash, and as the code reads it.
 */
import type { JobEnd, JobRecord, JobSpec, JobStatus, PastAttempt, Progress } from '../../contract/job.js';

/** The fields that every reader needs; `input` and `output` are read only where they are used. */
export const RECORD_FIELDS = [
  'status',
  'spec',
  'createdAt',
  'expiresAt',
  'startedAt',
  'finishedAt',
  'deletedAfter',
  'attempts',
  'starts',
  'progress',
  'ticket',
  'history',
  'end',
] as const;

/** Returns the record of `values`, which are in the order of `RECORD_FIELDS`; null when there is no such record. */
export function decodeRecord(values: readonly (Buffer | string | null)[]): JobRecord | null {
  const [
    status,
    spec,
    createdAt,
    expiresAt,
    startedAt,
    finishedAt,
    deletedAfter,
    attempts,
    starts,
    progress,
    ticket,
    history,
    end,
  ] = values.map((value) => (value === null || value === undefined ? null : value.toString()));
  if (!status || !spec) return null;
  return {
    status: status as JobStatus,
    spec: JSON.parse(spec) as JobSpec,
    createdAt: Number(createdAt),
    expiresAt: Number(expiresAt),
    startedAt: numberOrNull(startedAt),
    finishedAt: numberOrNull(finishedAt),
    deletedAfter: numberOrNull(deletedAfter),
    attempts: Number(attempts),
    starts: Number(starts),
    progress: status === 'running' ? progressOf(progress, starts) : null,
    ticket: ticket ?? null,
    history: history ? (JSON.parse(`[${history}]`) as PastAttempt[]) : [],
    end: end ? (JSON.parse(end) as JobEnd) : null,
  };
}

/** Reads `<token> <done> <total>`. The progress of an older execution does not count. */
function progressOf(text: string | null | undefined, starts: string | null | undefined): Progress | null {
  const [token, done, total] = (text ?? '').split(' ');
  return token === starts && done && total ? { done: Number(done), total: Number(total) } : null;
}

/** Returns the number of a field; null when it is missing or empty. */
export function numberOrNull(text: string | null | undefined): number | null {
  return text ? Number(text) : null;
}

/**
 * Told ends: what the script that ends a job tells the process that waits for it, so that its answer needs no read.
 *
 * A message is a row of ends, each a line of words, `<id>` alone or `<id> <status> <startedAt> <finishedAt> <deletedAfter>
 * <attempts> <starts> <bytes of end> <bytes of output>` with `-` for null, then the end as JSON and the packed predictions.
 * shared/redis/lua/include/tell-end.lua writes it.
 */
import type { JobEnd, JobRecord, JobStatus } from '../../contract/job.js';

/** The part of a record that its end has changed, and the packed predictions, null when there are none. */
export interface ToldEnd {
  changed: Pick<
    JobRecord,
    'status' | 'startedAt' | 'finishedAt' | 'deletedAfter' | 'attempts' | 'starts' | 'end'
  >;
  output: Buffer | null;
}

const NEWLINE = 0x0a;

/** Returns the ends of a message; `told` is null when the record must be read. */
export function parseToldEnds(message: Buffer): { id: string; told: ToldEnd | null }[] {
  const ends: { id: string; told: ToldEnd | null }[] = [];
  let at = 0;
  while (at < message.length) {
    const newline = message.indexOf(NEWLINE, at);
    const [id = '', ...words] = message.toString('latin1', at, newline).split(' ');
    at = newline + 1;
    if (words.length === 0) {
      ends.push({ id, told: null });
      continue;
    }
    const [endBytes, outputBytes] = words.slice(-2).map(Number) as [number, number];
    const end = message.subarray(at, at + endBytes);
    at += endBytes;
    const output = outputBytes > 0 ? message.subarray(at, at + outputBytes) : null;
    at += outputBytes;
    ends.push({ id, told: { changed: changedBy(words, end), output } });
  }
  return ends;
}

function changedBy(words: readonly string[], end: Buffer): ToldEnd['changed'] {
  const [status, startedAt, finishedAt, deletedAfter, attempts, starts] = words;
  return {
    status: status as JobStatus,
    startedAt: startedAt === '-' ? null : Number(startedAt),
    finishedAt: Number(finishedAt),
    deletedAfter: Number(deletedAfter),
    attempts: Number(attempts),
    starts: Number(starts),
    end: JSON.parse(end.toString()) as JobEnd,
  };
}

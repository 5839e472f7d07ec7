/**
 * Sent jobs: what the script that submits a lone job sends to a worker that stands by, so that the worker needs no turn to start it.
 *
 * A message of a worker's bell is the name of a tenure that is rung, or a line `<tenure> <id> <id of the job sent before, or -> <bytes of
 * spec>` with the spec as JSON and the packed instances after it. shared/redis/lua/include/send-job.lua writes it.
 */
import type { JobSpec } from '../../contract/job.js';
import type { Started } from './executions.js';

/** A job that runs under the ticket of the tenure that it is sent to. */
export interface SentJob {
  job: Started;
  /** The job that was sent to the same tenure before, or `NONE_SENT`. */
  before: string;
}

/** Stands for the id of the last job that was sent to a tenure, when none was. */
export const NONE_SENT = '-';

const NEWLINE = 0x0a;

/** Returns the tenure that is rung, with the job that is sent to it. */
export function parseRing(message: Buffer): { tenure: string; sent?: SentJob } {
  const newline = message.indexOf(NEWLINE);
  if (newline < 0) return { tenure: message.toString('latin1') };
  const [tenure = '', , before = NONE_SENT, specBytes] = message.toString('latin1', 0, newline).split(' ');
  const inputAt = newline + 1 + Number(specBytes);
  const spec = JSON.parse(message.toString('utf8', newline + 1, inputAt)) as JobSpec;
  const input = { inline: message.subarray(inputAt), blob: spec.inputBlob ?? null };
  return { tenure, sent: { before, job: { spec, input, token: '1', attempt: 1 } } };
}

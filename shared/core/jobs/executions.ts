/**
 * Executions: a worker's side of jobs.
 *
 *   start    what a worker may do with a ticket, queued -> running: takes the jobs that are next, up to a batch, each under
 *            a new fencing token; also takes over those that a dead worker left running under the same ticket.
 *   settle   running -> succeeded | failed, only with the newest token; writes result and event in the same step.
 *            running -> queued for a failure that may go away, after a pause, while attempts are left.
 *   report   how far a running job is, only with the newest token; changes no state.
 *
 * A start that a dead worker left without an end costs no attempt.
 */
import type { ErrorCode } from '../../contract/errors.js';
import { type JobEnd, type JobSpec, jobError, type Progress } from '../../contract/job.js';
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import type { WakeTickets } from '../queues/wake-tickets.js';
import type { JobLimits } from './job-limits.js';
import { REPORT, START } from './job-scripts.js';
import type { Stored } from './payloads.js';
import { type Ending, EXPIRED, endingKeys, endText, type SettleJobs } from './settle.js';

/** A job that was started so often without an end kills its workers. */
const MAX_STARTS = 10;
const LOST = endText(jobError('execution_lost'));
/** Failures of what we depend on. An input that hangs or crashes has been tried alone already. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set(['unavailable', 'internal']);
/** Pause before the second attempt; doubles with each, up to the most. */
const FIRST_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 60_000;

export interface ExecutionsDeps {
  redis: Redis;
  keys: Keys;
  wakeTickets: WakeTickets;
  settleJobs: SettleJobs;
  limits: JobLimits;
}

/** Bounds of what is taken under one ticket; the first job is taken whatever its size. */
export interface Share {
  maxInstances: number;
  maxBytes: number;
}

/** A job that its worker must run and settle. */
export interface Started {
  spec: JobSpec;
  input: Stored;
  ticket: string;
  token: string;
  /** 1 for the first. */
  attempt: number;
}

/** Jobs of callers that a start ended instead. */
export interface Unstarted {
  /** Their deadline was over. */
  expired: number;
  /** They were started too often. */
  lost: number;
}

/** An execution and what came of it. */
export interface Finished {
  job: Omit<Started, 'input'>;
  end: JobEnd;
  /** Packed predictions, null when the job failed. */
  output: Stored | null;
}

/** `void`: the job has ended meanwhile or was started by somebody else; its result does not count. */
export type Settled = (typeof SETTLED)[number];
export const SETTLED = ['succeeded', 'failed', 'retried', 'void'] as const;

export type Executions = ReturnType<typeof createExecutions>;

export function createExecutions({ redis, keys, wakeTickets, settleJobs, limits }: ExecutionsDeps) {
  const startScript = defineScript<Buffer[]>(redis, 'sluiceStart', START, true);
  const reportScript = defineScript<number>(redis, 'sluiceReport', REPORT);

  async function start(
    model: string,
    version: number,
    ticket: string,
    share: Share,
    onUnstarted: (unstarted: Unstarted) => void = () => undefined,
  ): Promise<Started[]> {
    const [next, expired, lost, ...taken] = await startScript(
      [
        ...endingKeys(keys, model, version),
        keys.queue(model, version),
        keys.taken(model, version, ticket),
        keys.paused,
      ],
      [
        ticket,
        share.maxInstances,
        share.maxBytes,
        MAX_STARTS,
        keys.job(''),
        model,
        EXPIRED,
        LOST,
        keys.ended,
        keys.changed,
      ],
    );
    onUnstarted({ expired: Number(expired), lost: Number(lost) });
    await wakeTickets.handOver(model, version, next?.toString());
    const started: Started[] = [];
    for (let i = 0; i < taken.length; i += 5) {
      const [, token, attempt, spec, input] = taken.slice(i, i + 5) as [
        Buffer,
        Buffer,
        Buffer,
        Buffer,
        Buffer,
      ];
      const parsed = JSON.parse(spec.toString()) as JobSpec;
      started.push({
        spec: parsed,
        input: { inline: input, blob: parsed.inputBlob ?? null },
        ticket,
        token: token.toString(),
        attempt: Number(attempt),
      });
    }
    return started;
  }

  /** What became of each; all of one version. */
  async function settle(model: string, version: number, finished: readonly Finished[]): Promise<Settled[]> {
    const outcomes = await settleJobs(model, version, finished.map(endingOf));
    return outcomes.map((outcome, i) => {
      if (outcome === 'retried') return 'retried';
      if (outcome !== 'settled') return 'void';
      return finished[i]?.output ? 'succeeded' : 'failed';
    });
  }

  /** False when the execution is void. */
  async function report({ spec, token }: Finished['job'], { done, total }: Progress): Promise<boolean> {
    const reported = [keys.job(spec.id), keys.outbox, keys.subscribed];
    return (await reportScript(reported, [spec.id, token, done, total, keys.changed])) === 1;
  }

  function endingOf({ job, end, output }: Finished): Ending {
    const ending: Ending = {
      id: job.spec.id,
      status: output ? 'succeeded' : 'failed',
      from: ',running,',
      end: JSON.stringify(output?.blob ? { ...end, outputBlob: output.blob } : end),
      ticket: job.ticket,
      token: job.token,
      output: output?.inline ?? null,
    };
    const { error } = end;
    if (!error || !TRANSIENT.has(error.code) || job.attempt >= limits.maxAttempts) return ending;
    return {
      ...ending,
      retryAfterMs: Math.min(FIRST_PAUSE_MS * 2 ** (job.attempt - 1), MAX_PAUSE_MS),
      attempt: JSON.stringify({ attempt: job.attempt, error }),
    };
  }

  return { start, settle, report };
}

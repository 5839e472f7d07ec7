/**
 * Executions: a worker's side of jobs.
 *
 *   start    queued -> running. The holder of a ticket takes the next jobs, up to a batch, each under a new fencing token. It
 *            also takes over the jobs that a dead worker left running under the same ticket.
 *   settle   running -> succeeded | failed, only with the newest token; result and event are written in the same step.
 *            running -> queued after a failure that may go away, with a pause, while attempts are left.
 *   report   stores how far a running job is, only with the newest token; changes no state.
 *
 * A start that a dead worker left without an end costs no attempt.
 */
import type { ErrorCode } from '../../contract/errors.js';
import { type JobEnd, type JobSpec, jobError, type Progress } from '../../contract/job.js';
import { PROGRESS_PERIOD_MS } from '../../contract/webhooks/events.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import type { WakeTickets } from '../queues/wake-tickets.js';
import { CHECK_MS } from './due-index.js';
import type { JobLimits } from './job-limits.js';
import type { StoredPayload } from './payloads.js';
import { type Ending, EXPIRED, endingKeys, endText, type SettleJobs } from './settle.js';

/** A job that was started so often without an end probably kills its workers, so it fails. */
const MAX_STARTS = 10;
const LOST = endText(jobError('execution_lost'));
/** Failures of what Sluice depends on. An input that hangs or crashes is not among them: it has been tried alone already. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set(['unavailable', 'internal']);
/** The pause before the second attempt; it doubles with each further attempt, up to `MAX_PAUSE_MS`. */
const FIRST_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 60_000;

export interface ExecutionsDeps {
  redis: Redis;
  keys: Keys;
  wakeTickets: WakeTickets;
  settleJobs: SettleJobs;
  limits: JobLimits;
}

/** Bounds what is taken under one ticket. The first job is taken whatever its size. */
export interface Share {
  maxInstances: number;
  maxBytes: number;
}

/** A job that its worker must run and settle. */
export interface Started {
  spec: JobSpec;
  input: StoredPayload;
  ticket: string;
  token: string;
  /** The first attempt is 1. */
  attempt: number;
}

/** The number of callers' jobs that a start ended instead of starting them. */
export interface Unstarted {
  /** Jobs whose deadline was over. */
  expired: number;
  /** Jobs that were started too often. */
  lost: number;
}

/** A job that was executed, and its result. */
export interface Finished {
  job: Omit<Started, 'input'>;
  end: JobEnd;
  /** The packed predictions; null when the job failed. */
  output: StoredPayload | null;
}

/** A result is `void`, and does not count, when the job has ended meanwhile or was started by another worker. */
export type Settled = (typeof SETTLED)[number];
export const SETTLED = ['succeeded', 'failed', 'retried', 'void'] as const;

export type Executions = ReturnType<typeof createExecutions>;

/** Returns the worker's side of jobs. */
export function createExecutions({ redis, keys, wakeTickets, settleJobs, limits }: ExecutionsDeps) {
  const startJobs = loadScript(redis, 'start-jobs');
  const reportProgress = loadScript(redis, 'report-progress');

  /**
   * Starts the jobs that are next in a version's queue and returns them.
   * @param onUnstarted hears how many jobs ended instead.
   */
  async function start(
    model: string,
    version: number,
    ticket: string,
    share: Share,
    onUnstarted: (unstarted: Unstarted) => void = () => undefined,
  ): Promise<Started[]> {
    const [next, expired, lost, ...taken] = await startJobs({
      ...endingKeys(keys, model, version),
      takenKey: keys.taken(model, version, ticket),
      pausedKey: keys.paused,
      ticket,
      maxInstances: share.maxInstances,
      maxBytes: share.maxBytes,
      maxStarts: MAX_STARTS,
      jobPrefix: keys.job(''),
      model,
      expiredEnd: EXPIRED,
      lostEnd: LOST,
      endedChannel: keys.ended,
      changedChannel: keys.changed,
      checkAfterMs: CHECK_MS,
    });
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

  /** Writes the results of jobs of one version; returns what became of each, in the same order. */
  async function settle(model: string, version: number, finished: readonly Finished[]): Promise<Settled[]> {
    const outcomes = await settleJobs(model, version, finished.map(endingOf));
    return outcomes.map((outcome, i) => {
      if (outcome === 'retried') return 'retried';
      if (outcome !== 'settled') return 'void';
      return finished[i]?.output ? 'succeeded' : 'failed';
    });
  }

  /** Stores how far a job is; returns false when the execution is void. */
  async function report({ spec, token }: Finished['job'], { done, total }: Progress): Promise<boolean> {
    const isNewest = await reportProgress({
      jobKey: keys.job(spec.id),
      outboxKey: keys.outbox,
      subscribedKey: keys.subscribed,
      id: spec.id,
      token,
      done,
      total,
      changedChannel: keys.changed,
      eventPeriodMs: PROGRESS_PERIOD_MS,
    });
    return isNewest === 1;
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

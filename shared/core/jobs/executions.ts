/**
 * Executions: a worker's side of jobs. A worker holds a ticket for a time, its tenure, and takes turns under it.
 *
 *   exchange   one turn: settles what was computed, and starts what is next.
 *     start    queued -> running. Each job gets a new fencing token. A turn that begins also takes over the jobs that a dead
 *              worker left running under the same ticket; that costs no attempt.
 *     settle   running -> succeeded | failed, only with the newest token; result and event are written in the same step.
 *              running -> queued after a failure that may go away, with a pause, while attempts are left.
 *   report     stores how far a running job is, only with the newest token; changes no state.
 */
import type { ErrorCode } from '../../contract/errors.js';
import { type JobEnd, type JobSpec, jobError, type Progress } from '../../contract/job.js';
import { PROGRESS_PERIOD_MS } from '../../contract/webhooks/events.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import type { WakeTickets } from '../queues/wake-tickets.js';
import type { JobLimits } from './job-limits.js';
import type { StoredPayload } from './payloads.js';
import { EXPIRED, endingKeys, endText } from './settle.js';

/** A job that was started so often without an end probably kills its workers, so it fails. After half of them it is started alone. */
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
  limits: JobLimits;
}

/** Bounds what is started in one turn. The first job is started whatever its size. */
export interface Share {
  maxInstances: number;
  maxBytes: number;
}

/** The time for which one worker holds a ticket. */
export interface TicketHold {
  ticket: string;
  /** A new id for each time. */
  tenure: string;
  /** The channel on which the worker is rung while it stands by. */
  bell: string;
}

export interface Turn {
  /** Counts up in the tenure: a turn that comes again after a broken connection is told from the next one. */
  number: number;
  /** The id of the last job that was sent to the tenure, or `NONE_SENT`. */
  heard: string;
  finished: readonly Finished[];
  /** The ids of the jobs in hand, in a turn that takes over whatever else was taken under the ticket. */
  takesOver?: readonly string[];
  /** The number of shares that the worker has room for. */
  room: number;
  share: Share;
  /** The tenure ends, unless this turn starts jobs. */
  leaves: boolean;
}

export interface Exchanged {
  /** `lost`: the ticket is in other hands. `behind`: jobs run under it that the worker was not told of and must take over. */
  standing: 'held' | 'left' | 'lost' | 'behind';
  /** Jobs wait, and the worker has room for them. */
  isMore: boolean;
  /** The id of the last job that was sent to the tenure, or `NONE_SENT`. */
  sent: string;
  /** The outcomes of the finished jobs. */
  settled: Settled[];
  started: Started[];
  unstarted: Unstarted;
}

/** A job that its worker must run and settle. */
export interface Started {
  spec: JobSpec;
  input: StoredPayload;
  token: string;
  /** The first attempt is 1. */
  attempt: number;
}

/** The number of callers' jobs that a turn ended instead of starting them. */
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
export function createExecutions({ redis, keys, wakeTickets, limits }: ExecutionsDeps) {
  const exchangeJobs = loadScript(redis, 'exchange-jobs', { isAlone: true });
  const reportProgress = loadScript(redis, 'report-progress');

  /** Takes a turn in the queue of a version. */
  async function exchange(model: string, version: number, hold: TicketHold, turn: Turn): Promise<Exchanged> {
    const { finished, takesOver, share } = turn;
    const [standing, more, called, sent, expired, lost, outcomes, ...jobs] = (await exchangeJobs(
      {
        ...endingKeys(keys, model, version),
        takenKey: keys.taken(model, version, hold.ticket),
        pausedKey: keys.paused,
        ...hold,
        turn: turn.number,
        heard: turn.heard,
        begins: takesOver ? '1' : '',
        inHand: takesOver?.join(' ') ?? '',
        room: turn.room,
        leaves: turn.leaves ? '1' : '',
        maxInstances: share.maxInstances,
        maxBytes: share.maxBytes,
        maxStarts: MAX_STARTS,
        jobPrefix: keys.job(''),
        model,
        expiredEnd: EXPIRED,
        lostEnd: LOST,
        endedChannel: keys.ended,
        changedChannel: keys.changed,
      },
      finished.map(valuesOf),
    )) as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, ...Buffer[]];
    const outcomeOf = outcomes.toString().split(' ');
    await wakeTickets.handOver(model, version, called.toString());
    return {
      standing: standing.toString() as Exchanged['standing'],
      isMore: more.length > 0,
      sent: sent.toString(),
      settled: finished.map(({ output }, i) => settledAs(outcomeOf[i], output)),
      started: startedJobs(jobs),
      unstarted: { expired: Number(expired), lost: Number(lost) },
    };
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

  function valuesOf({ job, end, output }: Finished) {
    const { error } = end;
    const isRepeated = error && TRANSIENT.has(error.code) && job.attempt < limits.maxAttempts;
    return {
      id: job.spec.id,
      token: job.token,
      status: output ? 'succeeded' : 'failed',
      ending: JSON.stringify(output?.blob ? { ...end, outputBlob: output.blob } : end),
      output: output?.inline ?? '',
      pauseMs: isRepeated ? Math.min(FIRST_PAUSE_MS * 2 ** (job.attempt - 1), MAX_PAUSE_MS) : '',
      attempt: isRepeated ? JSON.stringify({ attempt: job.attempt, error }) : '',
    };
  }

  return { exchange, report };
}

function settledAs(outcome: string | undefined, output: StoredPayload | null): Settled {
  if (outcome === 'retried') return 'retried';
  if (outcome !== 'settled') return 'void';
  return output ? 'succeeded' : 'failed';
}

/** Returns the started jobs of a reply: for each its id, token, attempt, spec and input. */
function startedJobs(values: readonly Buffer[]): Started[] {
  const started: Started[] = [];
  for (let i = 0; i < values.length; i += 5) {
    const [, token, attempt, spec, input] = values.slice(i, i + 5) as [
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
      token: token.toString(),
      attempt: Number(attempt),
    });
  }
  return started;
}

/**
 * The jobs of a batch's lines: submits them as the queue takes them, follows them to their end, cancels them.
 *
 * A line makes one job, whichever drivers come and go: its place in the batch is its Idempotency-Key.
 */
import { type Clock, sleep } from '../../shared/base/clock.js';
import { type BatchLine, type BatchRecord, lineSchema } from '../../shared/contract/batch.js';
import { type ErrorCode, presentError, SluiceError } from '../../shared/contract/errors.js';
import { isTerminal, MAX_RETENTION_SECONDS } from '../../shared/contract/job.js';
import { parseJson } from '../../shared/contract/json.js';
import { compileGuard } from '../../shared/contract/schema.js';
import type { Notices } from '../../shared/core/jobs/job-notices.js';
import type { Jobs, NewJob } from '../../shared/core/jobs/jobs.js';
import type { Submission } from '../../shared/core/jobs/submission.js';
import type { Watermark } from '../../shared/redis/memory-watermark.js';
import type { Outcome } from './batch-results.js';
import type { Line } from './json-lines.js';

export interface LineLimits {
  maxBytes: number;
  maxDepth: number;
}

export interface LineJobsDeps {
  jobs: Jobs;
  submission: Submission;
  notices: Notices;
  watermark: Pick<Watermark, 'check'>;
  clock: Clock;
  limits: LineLimits;
  onError: (kind: string, error: unknown) => void;
}

export interface LineJobsOf {
  batch: BatchRecord;
  /** Milliseconds until the batch expires, by Redis' clock. */
  leftMs: () => number;
  /** Aborts with `canceled` or `expired`: lines that are no jobs yet will be none. */
  halt: AbortSignal;
  /** Aborts when nothing more is to be done: by this process, or by this driver. */
  stop: AbortSignal;
}

/** A line on its way. A promise in an object, so that waiting for the submit is not waiting for the end. */
export interface Begun {
  ended: Promise<Outcome>;
}

export interface LineJobs {
  /** Resolves when the line's job has been submitted, or will never be. `ended` never rejects. */
  begin(line: Line): Promise<Begun>;
  cancelAll(): Promise<void>;
  /** Forgets a job that has ended. */
  erase(id: string): Promise<void>;
  close(): void;
}

type JobEnding = Pick<Outcome, 'status' | 'error'>;

/** What goes away by itself. */
const WORTH_WAITING: readonly ErrorCode[] = [
  'queue_full',
  'queue_full_for_tenant',
  'insufficient_storage',
  'unavailable',
];
const MAX_PAUSE_MS = 5000;
/** A job is kept until its batch has surely dealt with it. */
const MARGIN_SECONDS = 86_400;
const guardLine = compileGuard(lineSchema);
const GONE: JobEnding = {
  status: 'failed',
  error: presentError(new SluiceError('not_found', 'The job of this line is no longer kept.')),
};

export function createLineJobs(deps: LineJobsDeps, { batch, leftMs, halt, stop }: LineJobsOf): LineJobs {
  const { jobs, submission, notices, watermark, clock, limits, onError } = deps;
  const { id: batchId, tenant, model, version } = batch.spec;
  const woken = AbortSignal.any([halt, stop]);
  const followed = new Map<string, (ending: JobEnding) => void>();

  async function begin(line: Line): Promise<Begun> {
    const known = { line: line.number, customId: null as string | null, job: null as string | null };
    try {
      const value = read(line);
      known.customId = value.customId ?? null;
      const job = await patiently(() => toJob(value));
      const { id, ending } = await submit(job, line.number);
      known.job = id;
      return { ended: ending.then((end) => ({ ...known, ...end })) };
    } catch (error) {
      if (error instanceof Halted) return over({ ...known, status: error.status, error: null });
      if (!(error instanceof SluiceError)) throw error;
      return over({ ...known, status: 'failed', error: presentError(error) });
    }
  }

  function read({ bytes }: Line): BatchLine {
    if (!bytes) throw new SluiceError('body_too_large', `The line is larger than ${limits.maxBytes} bytes.`);
    return guardLine(parseJson(bytes, limits.maxDepth, 'The line'));
  }

  async function toJob({ customId: _, ...line }: BatchLine): Promise<NewJob> {
    const ttlSeconds = Math.max(1, Math.ceil(leftMs() / 1000));
    const value = {
      ...line,
      model: `${model}@${version}`,
      priority: 'bulk',
      ttlSeconds,
      retentionSeconds: Math.min(ttlSeconds + MARGIN_SECONDS, MAX_RETENTION_SECONDS),
    };
    const findFile = submission.filesOf(tenant);
    return submission.toJob(value, { tenant, findFile, mayExist: true, isLine: true });
  }

  /** Followed before it is submitted, so that its end cannot be missed. */
  async function submit(job: NewJob, line: number): Promise<{ id: string; ending: Promise<JobEnding> }> {
    const idempotency = {
      route: 'batch',
      key: `${batchId}:${line}`,
      fingerprint: batchId,
      keptSeconds: Math.ceil(leftMs() / 1000) + MARGIN_SECONDS,
    };
    const { id } = job.spec;
    const ending = follow(id);
    try {
      const { record, replayed } = await patiently(() => {
        watermark.check();
        return submission.submit(job, idempotency);
      });
      if (!replayed) return { id, ending };
      unfollow(id);
      return { id: record.spec.id, ending: followFrom(record.spec.id) };
    } catch (error) {
      unfollow(id);
      throw error;
    }
  }

  /** Tries until it works, or fails for a reason that will not go away. */
  async function patiently<T>(act: () => Promise<T>): Promise<T> {
    for (;;) {
      stop.throwIfAborted();
      if (halt.aborted) throw new Halted(halt.reason);
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof SluiceError) || !WORTH_WAITING.includes(error.code)) throw error;
        await sleep(clock, Math.min((error.retryAfterSeconds ?? 1) * 1000, MAX_PAUSE_MS), woken);
      }
    }
  }

  function follow(id: string): Promise<JobEnding> {
    return new Promise((resolve) => {
      const unwatch = notices.onEnd(id, () => void look(id));
      followed.set(id, (ending) => {
        unwatch();
        followed.delete(id);
        resolve(ending);
      });
    });
  }

  /** Of a job that may have ended already. */
  function followFrom(id: string): Promise<JobEnding> {
    const ending = follow(id);
    void look(id);
    return ending;
  }

  function unfollow(id: string): void {
    followed.get(id)?.(GONE);
  }

  /** A look that fails is made again by whoever drives the batch next: its end then is as if it had never been seen. */
  async function look(id: string): Promise<void> {
    try {
      const record = await jobs.get(tenant, id);
      if (record && !isTerminal(record.status)) return;
      const end = record && { status: record.status, error: record.end?.error ?? null };
      followed.get(id)?.((end as JobEnding | null) ?? GONE);
    } catch (error) {
      onError('batch', error);
    }
  }

  async function cancelAll(): Promise<void> {
    const canceled = await Promise.allSettled([...followed.keys()].map((id) => jobs.cancel(tenant, id)));
    // One that has ended meanwhile, or is gone, is as good.
    const failed = canceled.find(
      (each) => each.status === 'rejected' && !(each.reason instanceof SluiceError),
    );
    if (failed?.status === 'rejected') throw failed.reason;
  }

  async function erase(id: string): Promise<void> {
    await jobs.erase(tenant, id).catch((error: unknown) => {
      if (!(error instanceof SluiceError)) throw error;
    });
  }

  return {
    begin,
    cancelAll,
    erase,
    close() {
      for (const id of [...followed.keys()]) unfollow(id);
    },
  };
}

function over(outcome: Outcome): Begun {
  return { ended: Promise.resolve(outcome) };
}

/** The batch takes no more lines. */
class Halted extends Error {
  readonly status: 'canceled' | 'expired';
  constructor(status: 'canceled' | 'expired') {
    super(status);
    this.status = status;
  }
}

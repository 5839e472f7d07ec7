/**
 * Submits a job for each line of a batch, watches it until it ends, and cancels it when the batch is canceled.
 *
 * A line makes one job, however many drivers the batch has had, because its place in the batch is its idempotency key.
 */
import { type Clock, sleep } from '../../shared/base/clock.js';
import { type BatchLine, type BatchRecord, lineSchema, MAX_CUSTOM_ID } from '../../shared/contract/batch.js';
import { type ErrorCode, invalid, presentError, SluiceError } from '../../shared/contract/errors.js';
import { isTerminal, MAX_RETENTION_SECONDS } from '../../shared/contract/job.js';
import { whole } from '../../shared/contract/json/json.js';
import { parseSubmit } from '../../shared/contract/json/submit-json.js';
import { compileGuard } from '../../shared/contract/schema.js';
import type { Core } from '../../shared/core/compose.js';
import type { JobNotices } from '../../shared/core/jobs/job-notices.js';
import type { Watermark } from '../../shared/redis/memory-watermark.js';
import type { LineResult } from './batch-results.js';
import type { JsonLine } from './json-lines.js';

export interface LineLimits {
  maxBytes: number;
  maxDepth: number;
}

export interface LineJobsDeps {
  core: Core;
  notices: JobNotices;
  watermark: Pick<Watermark, 'check'>;
  clock: Clock;
  limits: LineLimits;
  onError: (kind: string, error: unknown) => void;
}

export interface LineJobsContext {
  batch: BatchRecord;
  /** Milliseconds until the batch expires, by Redis' clock. */
  leftMs: () => number;
  /** Aborts with `canceled` or `expired`; no line becomes a job after that. */
  halt: AbortSignal;
  /** Aborts when this process closes or another driver has taken the batch. */
  stop: AbortSignal;
}

/** The promise stands in an object, so that to await the submission does not await the job's end. */
export interface SubmittedLine {
  /** Resolves when the line's job has ended, and never rejects. */
  ended: Promise<LineResult>;
}

export interface LineJobs {
  /** Resolves when the line's job has been submitted, or never will be because the line is invalid or the batch has halted. */
  submit(line: JsonLine): Promise<SubmittedLine>;
  /** Cancels every job that has not ended. */
  cancelAll(): Promise<void>;
  /** Deletes the record of a job that has ended. */
  erase(id: string): Promise<void>;
  /** Stops watching; lines whose jobs still run then count as `failed` here, and the next driver finds them again. */
  close(): void;
}

type JobResult = Pick<LineResult, 'status' | 'error'>;

interface SubmittedJob {
  id: string;
  /** Resolves when the job has ended. */
  result: Promise<JobResult>;
}

/** Errors that pass by themselves: the submission is repeated until it works. */
const WORTH_WAITING: readonly ErrorCode[] = [
  'queue_full',
  'queue_full_for_tenant',
  'insufficient_storage',
  'unavailable',
];
const MAX_PAUSE_MS = 5000;
/** A job outlives its batch by this margin, so that the batch can always read its result. */
const MARGIN_SECONDS = 86_400;
const guardLine = compileGuard(lineSchema);
const GONE: JobResult = {
  status: 'failed',
  error: presentError(new SluiceError('not_found', 'The job of this line is no longer kept.')),
};

/** Returns the jobs of one batch's lines; `submit`, `cancelAll` and `erase` reject with what Redis reports. */
export function createLineJobs(deps: LineJobsDeps, { batch, leftMs, halt, stop }: LineJobsContext): LineJobs {
  const { notices, watermark, clock, limits, onError } = deps;
  const { jobs, submission } = deps.core;
  const { id: batchId, tenant, model, version } = batch.spec;
  const woken = AbortSignal.any([halt, stop]);
  /** Jobs that have not ended, and the function that reports the end of each. */
  const watched = new Map<string, (result: JobResult) => void>();
  /** Jobs that are watched and do not exist yet. */
  const unmade = new Set<string>();

  async function submit(line: JsonLine): Promise<SubmittedLine> {
    const known = { line: line.number, customId: null as string | null, job: null as string | null };
    try {
      const value = read(line, (customId) => (known.customId = customId));
      const { id, result } = await submitJob(value, line.number);
      known.job = id;
      return { ended: result.then((end) => ({ ...known, ...end })) };
    } catch (error) {
      if (error instanceof Halted) return ended({ ...known, status: error.status, error: null });
      if (!(error instanceof SluiceError)) throw error;
      return ended({ ...known, status: 'failed', error: presentError(error) });
    }
  }

  /** Returns the line; `onCustomId` hears of its id also when the rest of it is wrong. */
  function read({ bytes }: JsonLine, onCustomId: (customId: string) => void): BatchLine {
    if (!bytes) throw new SluiceError('body_too_large', `The line is larger than ${limits.maxBytes} bytes.`);
    const parsed = whole(parseSubmit(bytes, limits.maxDepth, 'The line'));
    const { customId } = (parsed ?? {}) as { customId?: unknown };
    if (typeof customId === 'string' && customId.length <= MAX_CUSTOM_ID) onCustomId(customId);
    const value = guardLine(parsed);
    demandOwnModel(value.model);
    return value;
  }

  /** A line may name the model of its batch, in any way that means it. */
  function demandOwnModel(named: string | undefined): void {
    const { alias } = batch.spec;
    const own = [model, `${model}@${version}`, ...(alias === null ? [] : [`${model}@${alias}`])];
    if (named === undefined || own.includes(named)) return;
    throw invalid([{ path: '/model', message: `is not the model of the batch, ${model}@${version}` }]);
  }

  async function submitJob(value: BatchLine, line: number): Promise<SubmittedJob> {
    let watching = null as SubmittedJob | null;
    try {
      const { record, replayed } = await submission.submit({
        tenant,
        body: bodyOf(value),
        isLine: true,
        idempotency: {
          route: 'batch',
          key: `${batchId}:${line}`,
          fingerprint: batchId,
          keptSeconds: Math.ceil(leftMs() / 1000) + MARGIN_SECONDS,
          // A driver that was frozen may come to a line again whose result is stored and whose job is erased.
          holds: true,
        },
        persist,
        // The watch begins before the job exists, so that its end cannot be missed.
        onChecked(id) {
          unmade.add(id);
          watching = { id, result: watch(id) };
        },
      });
      if (watching) unmade.delete(watching.id);
      if (!replayed && watching) return watching;
      if (watching) unwatch(watching.id);
      return { id: record.spec.id, result: watchExisting(record.spec.id) };
    } catch (error) {
      if (watching) unwatch(watching.id);
      throw error;
    }
  }

  /** Returns the body of POST /v1/jobs. */
  function bodyOf({ customId: _id, model: _model, ...line }: BatchLine): object {
    const ttlSeconds = Math.max(1, Math.ceil(leftMs() / 1000));
    return {
      ...line,
      model: `${model}@${version}`,
      priority: 'bulk',
      ttlSeconds,
      retentionSeconds: Math.min(ttlSeconds + MARGIN_SECONDS, MAX_RETENTION_SECONDS),
    };
  }

  /** Repeats a step until it works, the batch halts, or it fails for a reason that does not pass by itself. */
  async function persist<T>(step: () => Promise<T>): Promise<T> {
    for (;;) {
      stop.throwIfAborted();
      if (halt.aborted) throw new Halted(halt.reason);
      try {
        watermark.check();
        return await step();
      } catch (error) {
        if (!(error instanceof SluiceError) || !WORTH_WAITING.includes(error.code)) throw error;
        await sleep(clock, Math.min((error.retryAfterSeconds ?? 1) * 1000, MAX_PAUSE_MS), woken);
      }
    }
  }

  function watch(id: string): Promise<JobResult> {
    return new Promise((resolve) => {
      const stopListening = notices.onEnd(id, () => void look(id));
      watched.set(id, (result) => {
        stopListening();
        watched.delete(id);
        resolve(result);
      });
    });
  }

  /** Watches a job that may have ended already. */
  function watchExisting(id: string): Promise<JobResult> {
    const result = watch(id);
    void look(id);
    return result;
  }

  function unwatch(id: string): void {
    unmade.delete(id);
    watched.get(id)?.(GONE);
  }

  /** Reads the job and reports its end. When the read fails, the line stays open until the next driver reads the job again. */
  async function look(id: string): Promise<void> {
    const wasMade = !unmade.has(id);
    try {
      const record = await jobs.get(tenant, id);
      if (record ? !isTerminal(record.status) : !wasMade) return;
      const end = record && { status: record.status, error: record.end?.error ?? null };
      watched.get(id)?.((end as JobResult | null) ?? GONE);
    } catch (error) {
      onError('batch', error);
    }
  }

  async function cancelAll(): Promise<void> {
    const canceled = await Promise.allSettled([...watched.keys()].map((id) => jobs.cancel(tenant, id)));
    // A job that has ended meanwhile, or is no longer kept, needs no cancellation.
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
    submit,
    cancelAll,
    erase,
    close() {
      for (const id of [...watched.keys()]) unwatch(id);
    },
  };
}

function ended(result: LineResult): SubmittedLine {
  return { ended: Promise.resolve(result) };
}

/** The batch takes no more lines. */
class Halted extends Error {
  readonly status: 'canceled' | 'expired';
  constructor(status: 'canceled' | 'expired') {
    super(status);
    this.status = status;
  }
}

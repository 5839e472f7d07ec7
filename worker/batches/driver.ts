/**
 * Drives a batch from its last stored state to its end: counts the lines, submits their jobs chunk by chunk, stores the results
 * of each chunk as a part, and joins the parts into files.
 *
 * A driver may die anywhere. The next driver continues after the last stored part and finds the jobs that were made. While a
 * driver is frozen, another may take the batch; the frozen one then meets `LostBatch` and changes nothing more.
 */
import { type BatchEnd, type BatchSpec, MAX_LINES } from '../../shared/contract/batch.js';
import { invalid, SluiceError } from '../../shared/contract/errors.js';
import { type JobError, jobError } from '../../shared/contract/job.js';
import type { TakenBatch } from '../../shared/core/batches/batches.js';
import { type BatchRun, type BatchRunDeps, createBatchRun, LostBatch } from './batch-run.js';
import { chunkLines, type JsonLine, readJsonLines } from './json-lines.js';

export interface DriverDeps extends BatchRunDeps {
  fileRetentionSeconds: number;
}

/** Resolves when the batch has ended or another driver has taken it; rejects with the reason of `closing` when that aborts. */
export type Drive = (id: string, closing: AbortSignal) => Promise<void>;

interface Conclusion {
  status: BatchEnd;
  error: JobError | null;
}

/** Returns the function that drives one batch, named by its id. It rejects with an error that may pass, and can be called again. */
export function createDriver(deps: DriverDeps): Drive {
  const { results, limits } = deps;
  const { batches, files } = deps.core;

  return async function drive(id, closing) {
    const taken = await batches.take(id);
    if (!taken) return;
    const run = createBatchRun(deps, taken, closing);
    try {
      await conclude(taken, run, await workOff(taken, run));
    } catch (error) {
      if (!(error instanceof LostBatch)) throw error;
    } finally {
      run.close();
    }
  };

  /** An error that may pass is thrown for the next driver to try again; any other error ends the batch as `failed`. */
  async function workOff({ record, parts }: TakenBatch, run: BatchRun): Promise<Conclusion> {
    const { spec } = record;
    try {
      await run.start(record.total ?? (await countLines(spec, run)));
      const after = parts.at(-1)?.lastLine ?? 0;
      for await (const chunk of chunkLines(await open(spec), after)) await run.submitChunk(chunk);
      await run.drain();
      return { status: run.halted ?? 'completed', error: null };
    } catch (error) {
      return failedBy(error);
    }
  }

  async function open({ tenant, inputFile }: BatchSpec): Promise<AsyncGenerator<JsonLine>> {
    const record = await files.get(tenant, inputFile);
    const blob = record && (await files.open(record));
    if (!blob) throw new SluiceError('not_found', 'The input file is no longer kept.');
    return readJsonLines(blob.stream, limits.maxBytes);
  }

  async function countLines(spec: BatchSpec, run: BatchRun): Promise<number> {
    let count = 0;
    for await (const _ of await open(spec)) {
      run.stop.throwIfAborted();
      if (++count > MAX_LINES) throw unusable(`has more than ${MAX_LINES} lines`);
    }
    if (count === 0) throw unusable('has no lines');
    return count;
  }

  async function conclude(taken: TakenBatch, run: BatchRun, conclusion: Conclusion): Promise<void> {
    const { spec } = taken.record;
    const { published, status, error } = await publish(spec, run, conclusion);
    run.stop.throwIfAborted();
    const firstFailure = run.parts.find(({ failure }) => failure)?.failure ?? null;
    if (!(await batches.finish(taken, status, { files: published, error, firstFailure }))) return;
    await Promise.all(run.parts.map((part, index) => results.dropPart(spec, index, part)));
  }

  /** A batch whose results are gone fails, because a file with a gap would look complete. */
  async function publish(spec: BatchSpec, run: BatchRun, conclusion: Conclusion) {
    const expiresAt = run.now() + deps.fileRetentionSeconds * 1000;
    try {
      return { ...conclusion, published: await results.publish(spec, run.parts, expiresAt) };
    } catch (error) {
      return { ...failedBy(error), published: { output: false, errors: false } };
    }
  }
}

/** Returns the conclusion of a batch that `error` ends; throws `error` when it may pass. */
function failedBy(error: unknown): Conclusion {
  if (!(error instanceof SluiceError) || error.retryable) throw error;
  return { status: 'failed', error: jobError(error.code, error.message) };
}

function unusable(message: string): SluiceError {
  return invalid([{ path: '/inputFile', message }]);
}

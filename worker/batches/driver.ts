/**
 * Drives a batch from its newest state to its end: counts its lines, submits their jobs a chunk after another, stores the
 * results of each chunk as a part, and makes files of the parts at last.
 *
 * It may die anywhere: who takes the batch next goes on after the last part, and finds the jobs that were made. While it
 * is frozen another may take the batch; it then finds itself lost and leaves everything as it is.
 */

import { type BatchEnd, type BatchSpec, MAX_LINES } from '../../shared/contract/batch.js';
import { invalid, SluiceError } from '../../shared/contract/errors.js';
import { type JobError, jobError } from '../../shared/contract/job.js';
import type { Taken } from '../../shared/core/batches/batches.js';
import type { Files } from '../../shared/core/files/files.js';
import { createRun, Lost, type Run, type RunDeps } from './batch-run.js';
import { inChunks, type Line, readLines } from './json-lines.js';

export interface DriverDeps extends RunDeps {
  files: Files;
  fileRetentionSeconds: number;
}

/** Resolves when the batch has ended or another drives it; rejects with the reason of `closing` when that aborts. */
export type Drive = (id: string, closing: AbortSignal) => Promise<void>;

interface Ending {
  status: BatchEnd;
  error: JobError | null;
}

export function createDriver(deps: DriverDeps): Drive {
  const { batches, files, results, limits } = deps;

  return async function drive(id, closing) {
    const taken = await batches.take(id);
    if (!taken) return;
    const run = createRun(deps, taken, closing);
    try {
      await conclude(taken, run, await workOff(taken, run));
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
    } finally {
      run.close();
    }
  };

  /** What cannot be read now is tried again by the next driver; what never will be ends the batch. */
  async function workOff({ record, parts }: Taken, run: Run): Promise<Ending> {
    const { spec } = record;
    try {
      await run.begin(record.total ?? (await countLines(spec, run)));
      const after = parts.at(-1)?.lastLine ?? 0;
      for await (const chunk of inChunks(await open(spec), after)) await run.advance(chunk);
      await run.drain();
      return { status: run.halted ?? 'completed', error: null };
    } catch (error) {
      return failedBy(error);
    }
  }

  async function open({ tenant, inputFile }: BatchSpec): Promise<AsyncGenerator<Line>> {
    const record = await files.get(tenant, inputFile);
    const blob = record && (await files.open(record));
    if (!blob) throw new SluiceError('not_found', 'The input file is no longer kept.');
    return readLines(blob.stream, limits.maxBytes);
  }

  async function countLines(spec: BatchSpec, run: Run): Promise<number> {
    let count = 0;
    for await (const _ of await open(spec)) {
      run.stop.throwIfAborted();
      if (++count > MAX_LINES) throw unusable(`has more than ${MAX_LINES} lines`);
    }
    if (count === 0) throw unusable('has no lines');
    return count;
  }

  async function conclude(taken: Taken, run: Run, ending: Ending): Promise<void> {
    const { spec } = taken.record;
    const { published, status, error } = await publish(spec, run, ending);
    run.stop.throwIfAborted();
    if (!(await batches.finish(taken, status, published, error))) return;
    await Promise.all(run.parts.map((part, index) => results.dropPart(spec, index, part)));
  }

  /** A batch that lost results fails: a file with a gap would look like one without. */
  async function publish(spec: BatchSpec, run: Run, ending: Ending) {
    const expiresAt = run.now() + deps.fileRetentionSeconds * 1000;
    try {
      return { ...ending, published: await results.publish(spec, run.parts, expiresAt) };
    } catch (error) {
      return { ...failedBy(error), published: { output: false, errors: false } };
    }
  }
}

/** What is worth another try is thrown on. */
function failedBy(error: unknown): Ending {
  if (!(error instanceof SluiceError) || error.retryable) throw error;
  return { status: 'failed', error: jobError(error.code, error.message) };
}

function unusable(message: string): SluiceError {
  return invalid([{ path: '/inputFile', message }]);
}

/**
 * Runs a batch to its end: one result for each instance, whatever one of them does to the child that computes it.
 *
 *   whole batch -> results        whole batch -> failed -> parts of it, one after the other -> results
 *
 * The parent keeps BullMQ's locks and never touches a tensor, so a native crash costs a child, not a lock. Promises:
 *   - A batch that a child died of runs again by halves until the instance at fault is alone. That one fails with
 *     `input_crashed_backend` after at most ceil(log2 size) + 1 crashes; the others get their results.
 *   - A batch that the backend throws on is halved in the same way, without a crash (`backend_error`).
 *   - A batch that outlasts the longest limit in it costs the child too. Then each instance runs alone under its own limit
 *     (`timeout`), and the others lose nothing but the wait.
 *   - A batch for which the memory does not suffice runs by halves, too. Its size is told, so that the next batches are
 *     smaller, unless one instance does not fit by itself.
 *   - An instance that was alone from the start is tried twice, because somebody else may have killed its child.
 */
import type { ErrorCode } from '../../../shared/contract/errors.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import { CallFailed } from '../../process/pending-calls.js';
import type { InstanceResult, Selection } from '../protocol/messages.js';
import type { BackendChildren } from './backend-children.js';

/** A batch of one version. */
export interface VersionBatch {
  model: string;
  version: number;
  /** They have equal shapes and are at most the version's maxBatchSize. */
  instances: Instance[];
  select?: Selection | undefined;
  /** How long each instance may compute. The longest holds for all that compute together. */
  timeoutsMs: number[];
}

export interface BatchResult {
  /** There is one for each instance, in their order. */
  results: InstanceResult[];
  computeMs: number;
  /** The least number of instances for which the memory did not suffice, though it does for each; null when it did. */
  outOfMemoryAt: number | null;
}

export interface BatchRunner {
  /**
   * Resolves with one result for each instance.
   * @throws {RunElsewhere} when another worker had better run the batch; any other error when the children were closed.
   */
  run(batch: VersionBatch): Promise<BatchResult>;
}

/** The words in which TensorFlow, WebAssembly and V8 report it. */
const OUT_OF_MEMORY = /\bOOM\b|out of memory|memory allocation|allocation failed|Memory\.grow/i;

/** Returns a runner of batches on the children of one backend. */
export function createBatchRunner(children: Pick<BackendChildren, 'run'>): BatchRunner {
  /** Retries run without padding rows, because the padding may have caused the out-of-memory error. */
  async function attempt(part: VersionBatch, isRetry: boolean, batch: VersionBatch): Promise<BatchResult> {
    const { timeoutsMs, ...call } = part;
    const { results, computeMs } = await children.run(
      { ...call, exact: isRetry },
      Math.max(...timeoutsMs),
      batch,
    );
    return { results, computeMs, outOfMemoryAt: null };
  }

  /** `batch`: the batch of which `part` is a part, or the whole. */
  async function runPart(part: VersionBatch, isRetry: boolean, batch: VersionBatch): Promise<BatchResult> {
    try {
      return await attempt(part, isRetry, batch);
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      const size = part.instances.length;
      if (size > 1) {
        const whole = await runInParts(part, error.code === 'timeout' ? 1 : Math.ceil(size / 2), batch);
        if (OUT_OF_MEMORY.test(error.message) && !whole.results.some(isTooLargeAlone))
          whole.outOfMemoryAt ??= size;
        return whole;
      }
      if (!isRetry && error.code !== 'backend_error') return runPart(part, true, batch);
      return { results: [failure(error.code, error.message)], computeMs: 0, outOfMemoryAt: null };
    }
  }

  /** Runs a failed part again, in parts of `size` instances, one after the other. */
  async function runInParts(failed: VersionBatch, size: number, batch: VersionBatch): Promise<BatchResult> {
    const whole: BatchResult = { results: [], computeMs: 0, outOfMemoryAt: null };
    for (let from = 0; from < failed.instances.length; from += size) {
      const instances = failed.instances.slice(from, from + size);
      const timeoutsMs = failed.timeoutsMs.slice(from, from + size);
      const part = await runPart({ ...failed, instances, timeoutsMs }, true, batch);
      whole.results.push(...part.results);
      whole.computeMs += part.computeMs;
      whole.outOfMemoryAt = least(whole.outOfMemoryAt, part.outOfMemoryAt);
    }
    return whole;
  }

  return { run: (batch) => runPart(batch, false, batch) };
}

function least(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

/** Returns whether the instance did not fit although it ran alone. */
function isTooLargeAlone(result: InstanceResult): boolean {
  return !result.ok && OUT_OF_MEMORY.test(result.message);
}

function failure(code: ErrorCode, message: string): InstanceResult {
  return { ok: false, code, message };
}

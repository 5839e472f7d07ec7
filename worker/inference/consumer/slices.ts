/**
 * A job's instances -> slices that fit a batch, and back.
 *
 * A slice holds instances of equal shapes, at most as many as a batch. Results are joined in the job's order.
 */
import type { ErrorCode } from '../../../shared/contract/errors.js';
import {
  type InstanceError,
  type JobEnd,
  type JobError,
  type JobSpec,
  jobError,
} from '../../../shared/contract/job.js';
import type { Signature, TensorSpec } from '../../../shared/contract/models/manifest.js';
import { type Instance, packInstances } from '../../../shared/contract/tensors/tensor.js';
import type { JobBatch } from '../../../shared/core/models/version-outcomes.js';
import type { TaskResult } from '../batching/batcher.js';
import type { InstanceResult } from '../protocol/messages.js';
import { paddedShape } from '../protocol/padded-shape.js';

export interface Slice {
  /** Of instances that are not computed: each has brought the backend down before. */
  refused: boolean;
  /** Text that is equal for instances which may share a batch. */
  shape: string;
  /** Places in the job. */
  indexes: number[];
  instances: Instance[];
  /** Of input. */
  bytes: number;
}

export interface SliceBounds {
  maxBatchSize: number;
  /** An instance that is larger has a slice of its own. */
  maxBatchBytes?: number;
}

/** `isRefused` is asked for the index of each instance. */
export function sliceInstances(
  instances: readonly Instance[],
  { inputs }: Signature,
  { maxBatchSize, maxBatchBytes = Number.POSITIVE_INFINITY }: SliceBounds,
  isRefused: (index: number) => boolean = () => false,
): Slice[] {
  const slices: Slice[] = [];
  const open = new Map<string, Slice>();
  for (const [index, instance] of instances.entries()) {
    const refused = isRefused(index);
    const shape = shapeOf(inputs, instance);
    const kind = `${refused} ${shape}`;
    let slice = open.get(kind);
    const bytes = bytesOf(instance);
    if (!slice || slice.instances.length >= maxBatchSize || slice.bytes + bytes > maxBatchBytes) {
      slice = { refused, shape, indexes: [], instances: [], bytes: 0 };
      open.set(kind, slice);
      slices.push(slice);
    }
    slice.indexes.push(index);
    slice.instances.push(instance);
    slice.bytes += bytes;
  }
  return slices;
}

/** Jobs share batches whose limits are within a factor of four: so long at most does one wait for what hangs beside it. */
export function limitClass({ timeoutSeconds }: JobSpec): number {
  return Math.floor(Math.log2(timeoutSeconds) / 2);
}

/** Of a slice that is not computed. */
export function refusal(count: number): TaskResult<InstanceResult> {
  const message = 'This instance has brought the backend down within the last hour; it was not run again.';
  const result: InstanceResult = { ok: false, code: 'input_crashed_backend', message };
  return { results: new Array(count).fill(result), waitMs: 0, computeMs: 0, batchSize: 1 };
}

export interface Outcome {
  end: JobEnd;
  /** Packed predictions, null when the job failed. */
  output: Buffer | null;
}

/** One bad instance fails the job, unless it allows partial results and at least one instance is good. */
export function joinResults(
  spec: JobSpec,
  slices: readonly Slice[],
  taskResults: readonly TaskResult<InstanceResult>[],
  backend: string,
): Outcome {
  const results: InstanceResult[] = new Array(spec.instances);
  let usageMs = 0;
  let computeMs = 0;
  let batchSize = 0;
  let batchWaitMs = 0;
  for (const [i, task] of taskResults.entries()) {
    slices[i]?.indexes.forEach((index, row) => {
      results[index] = task.results[row] as InstanceResult;
    });
    usageMs += (task.computeMs * task.results.length) / task.batchSize;
    computeMs += task.computeMs;
    batchSize = Math.max(batchSize, task.batchSize);
    batchWaitMs = Math.max(batchWaitMs, task.waitMs);
  }
  const error = errorOf(results);
  const partial = spec.allowPartial && results.some((result) => result.ok);
  const output =
    error && !partial ? null : packInstances(results.map((result) => (result.ok ? result.outputs : {})));
  return { end: { error, usageMs, timings: { batchWaitMs, computeMs, batchSize, backend } }, output };
}

/** The batch that a job was in, or one like those that it was in. */
export function batchOf(
  { instances }: JobSpec,
  { batchSize, computeMs }: { batchSize: number; computeMs: number },
): JobBatch | null {
  if (batchSize === 0) return null;
  return { size: batchSize, computeMs: computeMs / Math.ceil(instances / batchSize) };
}

function errorOf(results: readonly InstanceResult[]): JobError | null {
  const instanceErrors: InstanceError[] = [];
  for (const [index, result] of results.entries()) {
    if (!result.ok) instanceErrors.push({ index, code: result.code, message: result.message });
  }
  const [first] = instanceErrors;
  if (!first) return null;
  const alike =
    instanceErrors.length === results.length && instanceErrors.every(({ code }) => code === first.code);
  const code: ErrorCode = alike ? first.code : 'instances_failed';
  return jobError(code, alike ? first.message : undefined, instanceErrors);
}

function bytesOf(instance: Instance): number {
  let bytes = 0;
  for (const name in instance) bytes += instance[name]?.data.byteLength ?? 0;
  return bytes;
}

/** In a batch: padded to the same size means equal. */
function shapeOf(inputs: readonly TensorSpec[], instance: Instance): string {
  let text = '';
  for (const spec of inputs) {
    const value = instance[spec.name];
    if (value) text += `${spec.name}:${paddedShape(spec, value.shape).join('x')};`;
  }
  return text;
}

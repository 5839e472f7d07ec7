/**
 * Slices: a job's instances are cut into parts that fit a batch, and the results of the parts are joined again.
 *
 * A slice holds instances of equal shapes, at most as many as a batch. Results come in the job's order.
 */
import { createHash } from 'node:crypto';
import type { ErrorCode } from '../../../shared/contract/errors.js';
import {
  type InstanceError,
  type JobEnd,
  type JobError,
  type JobSpec,
  jobError,
} from '../../../shared/contract/job.js';
import { hasRows, type Manifest } from '../../../shared/contract/models/manifest.js';
import { type Instance, packInstances } from '../../../shared/contract/tensors/tensor.js';
import type { JobBatch } from '../../../shared/core/models/version-outcomes.js';
import type { TaskResult } from '../batching/batcher.js';
import type { InstanceResult } from '../protocol/messages.js';
import { paddedShape } from '../protocol/padded-shape.js';

export interface Slice {
  /** Its instances are not computed, because each has brought the backend down before. */
  isRefused: boolean;
  /** A text that is equal for instances which may share a batch. */
  shape: string;
  /** The places of its instances in the job. */
  indexes: number[];
  instances: Instance[];
  /** How large its input is. */
  bytes: number;
}

export interface SliceBounds {
  maxBatchSize: number;
  /** An instance that is larger has a slice of its own. */
  maxBatchBytes?: number;
}

/**
 * Returns the slices of a job's instances.
 * @param isBlocked tells by an instance's index whether it has brought the backend down before.
 */
export function sliceInstances(
  instances: readonly Instance[],
  manifest: Pick<Manifest, 'signature' | 'batching'>,
  { maxBatchSize, maxBatchBytes = Number.POSITIVE_INFINITY }: SliceBounds,
  isBlocked: (index: number) => boolean = () => false,
): Slice[] {
  const slices: Slice[] = [];
  const open = new Map<string, Slice>();
  const most = Math.min(maxBatchSize, manifest.signature.batchSize ?? maxBatchSize);
  for (const [index, instance] of instances.entries()) {
    const isRefused = isBlocked(index);
    const shape = shapeOf(manifest, instance);
    const kind = `${isRefused} ${shape}`;
    let slice = open.get(kind);
    const bytes = bytesOf(instance);
    if (!slice || slice.instances.length >= most || slice.bytes + bytes > maxBatchBytes) {
      slice = { isRefused, shape, indexes: [], instances: [], bytes: 0 };
      open.set(kind, slice);
      slices.push(slice);
    }
    slice.indexes.push(index);
    slice.instances.push(instance);
    slice.bytes += bytes;
  }
  return slices;
}

/**
 * Returns the class of a job's time limit. Jobs of one class, whose limits are within a factor of four, share batches: so long
 * at most does one wait for another that hangs beside it.
 */
export function limitClass({ timeoutSeconds }: JobSpec): number {
  return Math.floor(Math.log2(timeoutSeconds) / 2);
}

/** Returns the result of a slice of `count` instances that is not computed. */
export function refusal(count: number): TaskResult<InstanceResult> {
  const message = 'This instance has brought the backend down within the last hour; it was not run again.';
  const result: InstanceResult = { ok: false, code: 'input_crashed_backend', message };
  return { results: new Array(count).fill(result), waitMs: 0, computeMs: 0, batchSize: 1 };
}

/** A job that was computed, well or not. */
export interface ComputedJob {
  end: JobEnd;
  /** Packed predictions, null when the job failed. */
  output: Buffer | null;
}

/**
 * Returns the job's end and its predictions from the results of its slices. One bad instance fails the job, unless the job
 * allows partial results and at least one instance is good.
 */
export function joinResults(
  spec: JobSpec,
  slices: readonly Slice[],
  taskResults: readonly TaskResult<InstanceResult>[],
  backend: string,
): ComputedJob {
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

/** Returns the batch that a job was in, or an average one when it was in several; null when it was in none. */
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

/**
 * Returns the shape in a batch: instances that are padded to the same size are equal. A value that holds for the whole batch is
 * part of it, so that nobody is computed with another caller's.
 */
function shapeOf(manifest: Pick<Manifest, 'signature' | 'batching'>, instance: Instance): string {
  let text = '';
  for (const spec of manifest.signature.inputs) {
    const value = instance[spec.name];
    if (!value) continue;
    text += `${spec.name}:${paddedShape(spec, value.shape).join('x')};`;
    if (!hasRows(manifest, spec)) text += `=${textOfBytes(value.data)};`;
  }
  return text;
}

function textOfBytes(bytes: Uint8Array): string {
  if (bytes.byteLength <= 32) return Buffer.from(bytes).toString('base64');
  return createHash('sha256').update(bytes).digest('base64');
}

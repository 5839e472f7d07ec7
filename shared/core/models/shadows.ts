/**
 * Shadows: a version that is given copies of an alias' jobs, whose predictions nobody gets; they are compared with those that
 * the caller got.
 *
 * A copy is a job of a tenant of its own, at the lowest priority, computed only while a worker has nothing else to do. What
 * becomes of it is counted by the worker that ends it, best effort: one that expires or whose original is gone is not. A copy
 * may be done before its original, which is waited for a little.
 * Predictions agree when outputs with labels put the same label first, and others differ by no more than `TOLERANCE`, in
 * proportion to the largest value where that is above 1.
 */
import { type Clock, sleep } from '../../base/clock.js';
import { type JobSpec, SHADOW_TENANT } from '../../contract/job.js';
import type { Signature, TensorSpec } from '../../contract/models/manifest.js';
import {
  type Instance,
  isTensor,
  toNested,
  toTypedArray,
  unpackInstances,
  type Value,
} from '../../contract/tensors/tensor.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import type { Jobs } from '../jobs/jobs.js';

/** A copy that was not started by then is dropped: the fleet has no time for it. */
const SHADOW_TTL_SECONDS = 300;
const SHADOW_RETENTION_SECONDS = 60;
const TOLERANCE = 1e-3;
/** Looks at an original that has not ended. */
const LOOKS = 50;
const PAUSE_MS = 200;

export interface Agreement {
  /** Instances whose predictions were compared, and of them those that agreed. */
  compared: number;
  agreed: number;
  /** Copies for which the version computed nothing though the other did. */
  failed: number;
}

export type Shadows = ReturnType<typeof createShadows>;

export interface ShadowsDeps {
  redis: Redis;
  keys: Keys;
  jobs: Pick<Jobs, 'getWithOutput'>;
  clock: Clock;
}

export function createShadows({ redis, keys, jobs, clock }: ShadowsDeps) {
  /** `output`: packed predictions of the copy, null when it failed. */
  async function count(spec: JobSpec, { outputs }: Signature, output: Buffer | null): Promise<void> {
    const { shadowOf, model, version } = spec;
    if (!shadowOf) return;
    const original = await ended(shadowOf);
    if (original?.record.status !== 'succeeded' || !original.output) return;
    const key = keys.agreement(model, version);
    if (!output) {
      await redis.hincrby(key, 'failed', 1);
      return;
    }
    const theirs = unpackInstances(original.output);
    const ours = unpackInstances(output);
    const agreed = ours.filter((instance, i) => theirs[i] && agrees(outputs, instance, theirs[i])).length;
    await Promise.all([redis.hincrby(key, 'compared', ours.length), redis.hincrby(key, 'agreed', agreed)]);
  }

  /** As it is after the last look, if it does not end before. */
  async function ended({ tenant, id }: NonNullable<JobSpec['shadowOf']>) {
    for (let looks = 1; ; looks++) {
      const original = await jobs.getWithOutput(tenant, id);
      const isOpen = original?.record.status === 'queued' || original?.record.status === 'running';
      if (!isOpen || looks === LOOKS) return original;
      await sleep(clock, PAUSE_MS);
    }
  }

  async function read(model: string, version: number): Promise<Agreement> {
    const {
      compared = '0',
      agreed = '0',
      failed = '0',
    } = await redis.hgetall(keys.agreement(model, version));
    return { compared: Number(compared), agreed: Number(agreed), failed: Number(failed) };
  }

  return { count, read };
}

/** Returns the copy of a job for a shadow: the version `version` of the same model. */
export function shadowCopy({ spec, input }: { spec: JobSpec; input: Buffer }, version: number, id: string) {
  const copy: JobSpec = {
    id,
    tenant: SHADOW_TENANT,
    model: spec.model,
    version,
    alias: null,
    priority: 'bulk',
    instances: spec.instances,
    timeoutSeconds: spec.timeoutSeconds,
    allowPartial: false,
    metadata: {},
    webhook: null,
    retryOf: null,
    shadowOf: { id: spec.id, tenant: spec.tenant },
  };
  return { spec: copy, ttlSeconds: SHADOW_TTL_SECONDS, retentionSeconds: SHADOW_RETENTION_SECONDS, input };
}

export function agrees(outputs: readonly TensorSpec[], one: Instance, other: Instance): boolean {
  return outputs.every((spec) => {
    const [a, b] = [one[spec.name], other[spec.name]];
    return a !== undefined && b !== undefined && isLike(spec, a, b);
  });
}

function isLike(spec: TensorSpec, a: Value, b: Value): boolean {
  if (a.dtype !== b.dtype) return false;
  if (a.dtype === 'ranking') return firstLabel(a) === firstLabel(b);
  if (!isTensor(a) || !isTensor(b)) return Buffer.compare(a.data, b.data) === 0;
  const [x, y] = [a, b].map(({ dtype, data }) => Array.from(toTypedArray(dtype, data))) as [
    number[],
    number[],
  ];
  if (x.length !== y.length) return false;
  if (spec.labels && a.shape.length === 1) return placeOfLargest(x) === placeOfLargest(y);
  const peak = y.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return x.every((value, i) => Math.abs(value - (y[i] ?? Number.NaN)) <= TOLERANCE * peak);
}

function firstLabel(value: Value): string | undefined {
  return (toNested(value) as { label: string }[])[0]?.label;
}

function placeOfLargest(values: ArrayLike<number>): number {
  let place = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[place] ?? 0)) place = i;
  return place;
}

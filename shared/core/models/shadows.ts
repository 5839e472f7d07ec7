/**
 * Shadows: a version gets copies of an alias' jobs. Its predictions are compared with those that the callers got, and nobody
 * else sees them.
 *
 * A copy is a job of a tenant of its own at the lowest priority, so that it is computed only while a worker has nothing else to
 * do. The worker that ends a copy counts it. A copy that expires, or whose original is gone, is not counted. A copy may end
 * before its original, so the worker waits for that a little.
 *
 * Two predictions agree when outputs with labels have the same best label, and all other outputs differ by at most `TOLERANCE`
 * times the largest value, or `TOLERANCE` where that is below 1.
 */
import { type Clock, sleep } from '../../base/clock.js';
import { type JobSpec, SHADOW_TENANT } from '../../contract/job.js';
import type { Manifest, TensorSpec } from '../../contract/models/manifest.js';
import { toTypedArray } from '../../contract/tensors/dtypes.js';
import { toNumbers } from '../../contract/tensors/elements.js';
import {
  type Instance,
  isTensor,
  toNested,
  unpackInstances,
  type Value,
} from '../../contract/tensors/tensor.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import type { Jobs } from '../jobs/jobs.js';

/** A copy that has not started by then expires, because the workers have no time for it. */
const SHADOW_TTL_SECONDS = 300;
const SHADOW_RETENTION_SECONDS = 60;
const TOLERANCE = 1e-3;
/** The most looks at an original that has not ended. */
const LOOKS = 50;
const PAUSE_MS = 200;

export interface Agreement {
  /** The instances whose predictions were compared, and how many of them agreed. */
  compared: number;
  agreed: number;
  /** The copies that failed although their originals succeeded. */
  failed: number;
}

export type Shadows = ReturnType<typeof createShadows>;

export interface ShadowsDeps {
  redis: Redis;
  keys: Keys;
  jobs: Pick<Jobs, 'getWithOutput'>;
  clock: Clock;
}

/** Returns what compares copies with their originals. */
export function createShadows({ redis, keys, jobs, clock }: ShadowsDeps) {
  const addCounts = loadScript(redis, 'add-counts');

  /** Counts one copy. `output` holds its packed predictions; null when it failed. */
  async function count(
    spec: JobSpec,
    { signature: { outputs }, stateful }: Pick<Manifest, 'signature' | 'stateful'>,
    output: Buffer | null,
  ): Promise<void> {
    const { shadowOf, model, version } = spec;
    if (!shadowOf) return;
    const original = await ended(shadowOf);
    if (original?.record.status !== 'succeeded' || !original.output) return;
    const add = (counts: Partial<Agreement>) =>
      addCounts(
        {
          countsKey: keys.agreement(model, version),
          modelKey: keys.model(model),
          numbersKey: keys.versionNumbers,
          model,
          version,
        },
        Object.entries(counts).map(([field, count]) => ({ field, count })),
      );
    if (!output) return void (await add({ failed: 1 }));
    // Two draws of chance need not agree.
    if (stateful) return;
    const theirs = unpackInstances(original.output);
    const ours = unpackInstances(output);
    const agreed = ours.filter((instance, i) => theirs[i] && agrees(outputs, instance, theirs[i])).length;
    await add({ compared: ours.length, agreed });
  }

  /** Returns the original once it has ended, or as it is at the last look. */
  async function ended({ tenant, id }: NonNullable<JobSpec['shadowOf']>) {
    for (let looks = 1; ; looks++) {
      const original = await jobs.getWithOutput(tenant, id);
      const isOpen = original?.record.status === 'queued' || original?.record.status === 'running';
      if (!isOpen || looks === LOOKS) return original;
      await sleep(clock, PAUSE_MS);
    }
  }

  /** Returns what was counted of a version since it became a shadow. */
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
    ...(spec.select && { select: spec.select }),
    timeoutSeconds: spec.timeoutSeconds,
    allowPartial: false,
    metadata: {},
    webhook: null,
    retryOf: null,
    shadowOf: { id: spec.id, tenant: spec.tenant },
  };
  return { spec: copy, ttlSeconds: SHADOW_TTL_SECONDS, retentionSeconds: SHADOW_RETENTION_SECONDS, input };
}

/** Whether two predictions of one instance agree in every output. */
export function agrees(outputs: readonly TensorSpec[], one: Instance, other: Instance): boolean {
  const asked = outputs.filter(({ name }) => Object.hasOwn(one, name) || Object.hasOwn(other, name));
  return asked.every((spec) => {
    const [a, b] = [one[spec.name], other[spec.name]];
    return a !== undefined && b !== undefined && isLike(spec, a, b);
  });
}

function isLike(spec: TensorSpec, a: Value, b: Value): boolean {
  if (a.dtype !== b.dtype) return false;
  if (a.dtype === 'ranking') return firstLabel(a) === firstLabel(b);
  const [x, y] = [a, b].map(numbersOf);
  if (!x || !y) return Buffer.compare(a.data, b.data) === 0;
  if (x.length !== y.length) return false;
  if (spec.labels && a.shape.length === 1) return placeOfLargest(x) === placeOfLargest(y);
  const peak = y.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return x.every((value, i) => Math.abs(value - (y[i] ?? Number.NaN)) <= TOLERANCE * peak);
}

/** Returns the numbers of a value; null for strings and encoded files. */
function numbersOf(value: Value): number[] | null {
  if (!isTensor(value) || value.dtype === 'string') return null;
  return Array.from(toNumbers(toTypedArray(value.dtype, value.data)));
}

function firstLabel(value: Value): string | undefined {
  return (toNested(value) as { label: string }[])[0]?.label;
}

function placeOfLargest(values: ArrayLike<number>): number {
  let place = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[place] ?? 0)) place = i;
  return place;
}

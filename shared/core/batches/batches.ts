/**
 * Batches: files of jobs. The record is the truth; a message on the queue calls a driver to it.
 *
 *   create   writes the record (queued) and calls a driver          cancel   queued | running -> canceling
 *   take     queued -> running, with a token that makes the tokens of earlier drivers void
 *   addPart  stores the results of the next lines                   finish   running | canceling -> its end
 *
 * Promises: the result of a line is in the files once, whichever drivers came and went. Counts only grow, except those of
 * lines whose driver died. Another tenant's batch does not exist.
 */

import {
  type BatchEnd,
  type BatchRecord,
  type BatchSpec,
  type BatchStatus,
  isEnded,
  type LineCounts,
} from '../../contract/batch.js';
import { SluiceError } from '../../contract/errors.js';
import { isId } from '../../contract/ids.js';
import type { BatchQueue } from '../../queue/queues.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { type Idempotency, idempotencyValues } from '../idempotency.js';
import type { JobLimits } from '../jobs/job-limits.js';
import { closedVersion, isClosedBy } from '../models/closed-version.js';
import { type Page, readPage } from '../page.js';
import { BATCH_FIELDS, type BatchPart, decodeBatch, decodeCounts } from './batch-record.js';

export interface BatchesDeps {
  redis: Redis;
  keys: Keys;
  /** Calls a driver to a batch; does nothing when one is called to it already. */
  queue: Pick<BatchQueue, 'add'>;
  limits: Pick<JobLimits, 'maxBatchesPerTenant' | 'fileRetentionSeconds'>;
  onError: (kind: string, error: unknown) => void;
}

/** A batch as its new driver finds it. */
export interface TakenBatch {
  record: BatchRecord;
  token: string;
  /** The time by Redis' clock, in milliseconds since the Unix epoch. */
  now: number;
  parts: BatchPart[];
  /** The counts of the lines in these parts. */
  counts: LineCounts;
}

/** Tells a driver to go on, or to end the batch for a reason; `lost` when another driver has taken it. */
export type DriverOrder = 'go' | 'cancel' | 'expire' | 'lost';
export type Batches = ReturnType<typeof createBatches>;

/** Upkeep looks at an open batch so long after its start or the last look: was its message lost? */
export const CHECK_BATCH_MS = 10_000;

/** Returns what callers and drivers do with batches. */
export function createBatches({ redis, keys, queue, limits, onError }: BatchesDeps) {
  const createBatch = loadScript(redis, 'create-batch');
  const cancelBatch = loadScript(redis, 'cancel-batch');
  const takeBatch = loadScript(redis, 'take-batch');
  const reportBatch = loadScript(redis, 'report-batch');
  const addBatchPart = loadScript(redis, 'add-batch-part');
  const finishBatch = loadScript(redis, 'finish-batch');

  /**
   * Creates a batch.
   * @throws {SluiceError} `too_many_batches`; `idempotency_key_reused` for a key that came with another body; `not_found` when
   *   the batch of the key is no longer kept; `version_retired`, `model_not_found` for a version that was closed since it was
   *   resolved.
   */
  async function create(
    spec: BatchSpec,
    ttlSeconds: number,
    idempotency?: Omit<Idempotency, 'route'>,
  ): Promise<{ replayed: boolean; record: BatchRecord }> {
    const { id, tenant, model, version } = spec;
    const [outcome = '', known] = await createBatch({
      batchKey: keys.batch(id),
      tenantBatchesKey: keys.tenantBatches(tenant),
      batchesKey: keys.batches,
      openBatchesKey: keys.openBatches,
      ...idempotencyValues(keys, tenant, idempotency && { ...idempotency, route: 'batches' }, keys.batch(id)),
      queueKey: keys.queue(model, version),
      modelKey: keys.model(model),
      numbersKey: keys.versionNumbers,
      id,
      tenant,
      spec: JSON.stringify(spec),
      ttlMs: ttlSeconds * 1000,
      maxOpen: limits.maxBatchesPerTenant,
      checkAfterMs: CHECK_BATCH_MS,
      model,
      version,
    });
    if (outcome === 'mismatch') throw new SluiceError('idempotency_key_reused');
    if (outcome === 'too_many') throw new SluiceError('too_many_batches');
    if (isClosedBy(outcome)) throw closedVersion(outcome, model, version);
    if (outcome === 'created') await call(id);
    const record = await get(tenant, known ?? id);
    if (!record) throw new SluiceError('not_found', 'The batch of this Idempotency-Key is no longer kept.');
    return { replayed: outcome === 'replayed', record };
  }

  /** A call that fails is repeated by upkeep, because the record stands already. */
  async function call(id: string): Promise<void> {
    await queue.add(id).catch((error: unknown) => onError('batch not handed over', error));
  }

  /** Returns a batch of the tenant; null when it has none of this id. */
  async function get(tenant: string, id: string): Promise<BatchRecord | null> {
    if (!isId('batch', id)) return null;
    const record = decodeBatch(await redis.hmget(keys.batch(id), ...BATCH_FIELDS));
    return record?.spec.tenant === tenant ? record : null;
  }

  /** Returns a page of the tenant's batches, newest first. */
  function list(tenant: string, limit: number, cursor?: string): Promise<Page<BatchRecord>> {
    const index = keys.tenantBatches(tenant);
    return readPage(redis, { index, limit, cursor, read: (id) => get(tenant, id) });
  }

  /**
   * Cancels a batch, which takes as long as its jobs that are running; null when there is no such batch.
   * @throws {SluiceError} `batch_finished`.
   */
  async function cancel(tenant: string, id: string): Promise<BatchRecord | null> {
    if (!(await get(tenant, id))) return null;
    const status = (await cancelBatch({ batchKey: keys.batch(id) })) as BatchStatus;
    if (status === 'canceling') await call(id);
    const record = await get(tenant, id);
    if (record && isEnded(record.status) && record.status !== 'canceled')
      throw new SluiceError('batch_finished', `The batch has already ended: ${record.status}.`);
    return record;
  }

  /** Takes a batch for a new driver; null when the batch has ended. */
  async function take(id: string): Promise<TakenBatch | null> {
    const [token, now] = await takeBatch({ batchKey: keys.batch(id) });
    if (!token) return null;
    const fields = await redis.hgetall(keys.batch(id));
    const record = decodeBatch(BATCH_FIELDS.map((name) => fields[name] ?? null));
    if (!record) return null;
    const parts = Array.from(
      { length: Number(fields.parts) },
      (_, index) => JSON.parse(fields[`part:${index}`] ?? '') as BatchPart,
    );
    return { record, token, now: Number(now), parts, counts: decodeCounts(fields.doneCounts) };
  }

  /** Stores how far a driver is; returns what it shall do next. */
  async function report(
    { record, token }: TakenBatch,
    total: number,
    counts: LineCounts,
  ): Promise<DriverOrder> {
    const batchKey = keys.batch(record.spec.id);
    return (await reportBatch({ batchKey, token, total, counts: JSON.stringify(counts) })) as DriverOrder;
  }

  /** Adds a part; returns false when another driver has taken the batch. `counts` includes the lines of this part. */
  async function addPart(
    { record, token }: TakenBatch,
    index: number,
    part: BatchPart,
    counts: LineCounts,
  ): Promise<boolean> {
    const outcome = await addBatchPart({
      batchKey: keys.batch(record.spec.id),
      token,
      number: index,
      part: JSON.stringify(part),
      counts: JSON.stringify(counts),
    });
    return outcome === 'added';
  }

  /**
   * Ends a batch; returns false when another driver has taken it. A batch that is being canceled ends canceled, whatever
   * `status` says.
   */
  async function finish(
    { record: { spec }, token }: TakenBatch,
    status: BatchEnd,
    { files, error, firstFailure }: Pick<BatchRecord, 'files' | 'error' | 'firstFailure'>,
  ): Promise<boolean> {
    const outcome = await finishBatch({
      batchKey: keys.batch(spec.id),
      batchesKey: keys.batches,
      openBatchesKey: keys.openBatches,
      queueKey: keys.queue(spec.model, spec.version),
      token,
      id: spec.id,
      tenant: spec.tenant,
      status,
      error: error ? JSON.stringify(error) : '',
      firstFailure: firstFailure ? JSON.stringify(firstFailure) : '',
      files: JSON.stringify(files),
      keptMs: limits.fileRetentionSeconds * 1000,
    });
    return outcome !== 'lost';
  }

  return { create, get, list, cancel, take, report, addPart, finish };
}

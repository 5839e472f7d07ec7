/**
 * Batches: files of jobs. The record is the truth; a message on the queue calls a driver to it.
 *
 *   create   writes the record (queued) and calls a driver          cancel   queued | running -> canceling
 *   take     queued -> running, with a token that makes those of earlier drivers void
 *   addPart  the results of the next lines are stored               finish   running | canceling -> its end
 *
 * Promises: a line's result is in the files once, whichever drivers came and went; counts only grow, but for those of
 * lines whose driver died. Another tenant's batch does not exist.
 */

import { sha256Of } from '../../base/hash.js';
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
import type { JobError } from '../../contract/job.js';
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import type { JobLimits } from '../jobs/job-limits.js';
import { type Page, readPage } from '../page.js';
import { BATCH_FIELDS, type BatchPart, decodeBatch, decodeCounts } from './batch-record.js';
import {
  ADD_PART,
  CANCEL_BATCH,
  CREATE_BATCH,
  FINISH_BATCH,
  REPORT_BATCH,
  TAKE_BATCH,
} from './batch-scripts.js';

/** Calls drivers to batches. */
export interface BatchQueue {
  /** Does nothing when a driver is called to this batch already. */
  add(id: string): Promise<void>;
}

export interface BatchesDeps {
  redis: Redis;
  keys: Keys;
  queue: BatchQueue;
  limits: Pick<JobLimits, 'maxBatchesPerTenant' | 'fileRetentionSeconds'>;
  onError: (kind: string, error: unknown) => void;
}

/** What a driver finds when it takes a batch. */
export interface TakenBatch {
  record: BatchRecord;
  token: string;
  /** Redis' clock, milliseconds since the Unix epoch. */
  now: number;
  parts: BatchPart[];
  /** Of the lines in those parts. */
  counts: LineCounts;
}

export type DriverOrder = 'go' | 'cancel' | 'expire' | 'lost';
export type Batches = ReturnType<typeof createBatches>;

const IDEMPOTENCY_SECONDS = 24 * 3600;
export function createBatches({ redis, keys, queue, limits, onError }: BatchesDeps) {
  const createScript = defineScript<string[]>(redis, 'sluiceCreateBatch', CREATE_BATCH);
  const cancelScript = defineScript<string>(redis, 'sluiceCancelBatch', CANCEL_BATCH);
  const takeScript = defineScript<string[]>(redis, 'sluiceTakeBatch', TAKE_BATCH);
  const reportScript = defineScript<DriverOrder>(redis, 'sluiceReportBatch', REPORT_BATCH);
  const addPartScript = defineScript<string>(redis, 'sluiceAddPart', ADD_PART);
  const finishScript = defineScript<string>(redis, 'sluiceFinishBatch', FINISH_BATCH);

  async function create(
    spec: BatchSpec,
    ttlSeconds: number,
    idempotency?: { key: string; fingerprint: string },
  ): Promise<{ replayed: boolean; record: BatchRecord }> {
    const { id, tenant } = spec;
    const [outcome, known] = await createScript(
      [
        keys.batch(id),
        keys.tenantBatches(tenant),
        keys.batches,
        keys.openBatches,
        idempotency ? keys.idempotency(tenant, 'batches', sha256Of(idempotency.key)) : keys.batch(id),
      ],
      [
        id,
        tenant,
        JSON.stringify(spec),
        ttlSeconds * 1000,
        limits.maxBatchesPerTenant,
        idempotency?.fingerprint ?? '',
        IDEMPOTENCY_SECONDS,
      ],
    );
    if (outcome === 'mismatch') throw new SluiceError('idempotency_key_reused');
    if (outcome === 'too_many') throw new SluiceError('too_many_batches');
    if (outcome === 'created') await call(id);
    const record = await get(tenant, known ?? id);
    if (!record) throw new SluiceError('not_found', 'The batch of this Idempotency-Key is no longer kept.');
    return { replayed: outcome === 'replayed', record };
  }

  /** The record stands already: upkeep calls again. */
  async function call(id: string): Promise<void> {
    await queue.add(id).catch((error: unknown) => onError('batch not handed over', error));
  }

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

  /** Canceling takes as long as its jobs that are being computed. */
  async function cancel(tenant: string, id: string): Promise<BatchRecord | null> {
    if (!(await get(tenant, id))) return null;
    const status = (await cancelScript([keys.batch(id)], [])) as BatchStatus;
    if (status === 'canceling') await call(id);
    const record = await get(tenant, id);
    if (record && isEnded(record.status) && record.status !== 'canceled')
      throw new SluiceError('batch_finished', `The batch has already ended: ${record.status}.`);
    return record;
  }

  /** Null when it has ended. */
  async function take(id: string): Promise<TakenBatch | null> {
    const [token, now] = await takeScript([keys.batch(id)], []);
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

  /** Tells how far a driver is, and is told whether to go on. */
  function report({ record, token }: TakenBatch, total: number, counts: LineCounts): Promise<DriverOrder> {
    return reportScript([keys.batch(record.spec.id)], [token, total, JSON.stringify(counts)]);
  }

  /** False when another driver has taken the batch. `counts` include those of this part. */
  async function addPart(
    { record, token }: TakenBatch,
    index: number,
    part: BatchPart,
    counts: LineCounts,
  ): Promise<boolean> {
    const outcome = await addPartScript(
      [keys.batch(record.spec.id)],
      [token, index, JSON.stringify(part), JSON.stringify(counts)],
    );
    return outcome === 'added';
  }

  /** False when another driver has taken the batch. A batch that is being canceled ends canceled, whatever `status` says. */
  async function finish(
    { record: { spec }, token }: TakenBatch,
    status: BatchEnd,
    files: BatchRecord['files'],
    error: JobError | null,
  ): Promise<boolean> {
    const outcome = await finishScript(
      [keys.batch(spec.id), keys.batches, keys.openBatches],
      [
        token,
        spec.id,
        spec.tenant,
        status,
        error ? JSON.stringify(error) : '',
        JSON.stringify(files),
        limits.fileRetentionSeconds * 1000,
      ],
    );
    return outcome !== 'lost';
  }

  return { create, get, list, cancel, take, report, addPart, finish };
}

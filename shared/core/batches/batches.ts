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
import type { BlobStore } from '../../blobs/blobs.js';
import {
  type BatchEnd,
  type BatchRecord,
  type BatchSpec,
  type BatchStatus,
  isEnded,
  type LineCounts,
  NO_LINES,
} from '../../contract/batch.js';
import { SluiceError } from '../../contract/errors.js';
import { isId } from '../../contract/ids.js';
import type { JobError } from '../../contract/job.js';
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import type { JobLimits } from '../jobs/job-limits.js';
import { numberOrNull } from '../jobs/job-record.js';
import {
  ADD_PART,
  CANCEL_BATCH,
  CHECK_BATCH_MS,
  CREATE_BATCH,
  FINISH_BATCH,
  REPORT_BATCH,
  TAKE_BATCH,
} from './batch-scripts.js';

export interface BatchesDeps {
  redis: Redis;
  keys: Keys;
  blobs: BlobStore;
  /** Calls a driver to a batch; does nothing when it already does. */
  queue: { add(id: string): Promise<void> };
  limits: Pick<JobLimits, 'maxBatchesPerTenant' | 'fileRetentionSeconds'>;
  onError: (kind: string, error: unknown) => void;
}

/** The results of some lines that follow each other: two blobs, each only if it holds something. */
export interface BatchPart {
  /** Of the driver that wrote it: part of the blobs' names, so that none overwrites another's. */
  token: string;
  /** Number of the last line that it is about. */
  lastLine: number;
  output: boolean;
  errors: boolean;
}

export type ResultKind = 'output' | 'errors';

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

const FOLDER = 'batches/';
const FIELDS = [
  'status',
  'spec',
  'createdAt',
  'expiresAt',
  'startedAt',
  'finishedAt',
  'deletedAfter',
  'total',
  'counts',
  'files',
  'error',
] as const;
const IDEMPOTENCY_SECONDS = 24 * 3600;
/** Records looked at in one go. */
const PAGE = 100;
/** A part without a batch is one that was written just before its record, or has lost it. */
const ORPHAN_AGE_MS = 3_600_000;

export function createBatches({ redis, keys, blobs, queue, limits, onError }: BatchesDeps) {
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
    const record = decode(await redis.hmget(keys.batch(id), ...FIELDS));
    return record?.spec.tenant === tenant ? record : null;
  }

  /** Newest first. */
  async function list(
    tenant: string,
    limit: number,
    cursor?: string,
  ): Promise<{ records: BatchRecord[]; nextCursor: string | null }> {
    const from = cursor === undefined ? '+' : `(${cursor}`;
    const ids = await redis.zrange(keys.tenantBatches(tenant), from, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit);
    const records = await Promise.all(ids.map((id) => get(tenant, id)));
    return {
      records: records.filter((record) => record !== null),
      nextCursor: ids.length === limit ? (ids.at(-1) ?? null) : null,
    };
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
    const record = decode(FIELDS.map((name) => fields[name] ?? null));
    if (!record) return null;
    const parts = Array.from(
      { length: Number(fields.parts) },
      (_, index) => JSON.parse(fields[`part:${index}`] ?? '') as BatchPart,
    );
    return { record, token, now: Number(now), parts, counts: countsOf(fields.doneCounts) };
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

  /** Calls drivers to open batches again and forgets those whose time is over, at most `PAGE`; answers how many. */
  async function tend(): Promise<number> {
    const [seconds] = await redis.time();
    const now = Number(seconds) * 1000;
    const ids = await redis.zrangebyscore(keys.batches, '-inf', now, 'LIMIT', 0, PAGE);
    await Promise.all(ids.map((id) => look(id, now)));
    return ids.length;
  }

  async function look(id: string, now: number): Promise<void> {
    const record = decode(await redis.hmget(keys.batch(id), ...FIELDS));
    if (!record) return void (await redis.zrem(keys.batches, id));
    if (isEnded(record.status)) return forget(record.spec);
    await queue.add(id);
    await redis.zadd(keys.batches, 'XX', now + CHECK_BATCH_MS, id);
  }

  async function forget({ id, tenant }: BatchSpec): Promise<void> {
    await redis
      .multi()
      .del(keys.batch(id))
      .zrem(keys.tenantBatches(tenant), id)
      .zrem(keys.batches, id)
      .exec();
  }

  /** Removes parts of batches that are gone or have ended; answers how many. */
  async function sweep(): Promise<number> {
    const [seconds] = await redis.time();
    let removed = 0;
    for await (const { key, lastModifiedMs } of blobs.list(FOLDER)) {
      if (lastModifiedMs > Number(seconds) * 1000 - ORPHAN_AGE_MS) continue;
      const [, id = ''] = key.split('/');
      const status = (await redis.hget(keys.batch(id), 'status')) as BatchStatus | null;
      if (status && !isEnded(status)) continue;
      await blobs.delete(key);
      removed++;
    }
    return removed;
  }

  return { create, get, list, cancel, take, report, addPart, finish, tend, sweep };
}

/** Key of the blob with what a part holds of one kind. */
export function partKey(id: string, index: number, token: string, kind: ResultKind): string {
  return `${FOLDER}${id}/${index}-${token}-${kind}`;
}

/** `values` in the order of `FIELDS`. */
function decode(values: readonly (string | null)[]): BatchRecord | null {
  const [
    status,
    spec,
    createdAt,
    expiresAt,
    startedAt,
    finishedAt,
    deletedAfter,
    total,
    counts,
    files,
    error,
  ] = values;
  if (!status || !spec) return null;
  return {
    spec: JSON.parse(spec) as BatchSpec,
    status: status as BatchStatus,
    createdAt: Number(createdAt),
    expiresAt: Number(expiresAt),
    startedAt: numberOrNull(startedAt),
    finishedAt: numberOrNull(finishedAt),
    deletedAfter: numberOrNull(deletedAfter),
    total: numberOrNull(total),
    counts: countsOf(counts),
    files: files ? JSON.parse(files) : { output: false, errors: false },
    error: error ? (JSON.parse(error) as JobError) : null,
  };
}

function countsOf(text: string | null | undefined): LineCounts {
  return text ? (JSON.parse(text) as LineCounts) : { ...NO_LINES };
}

/**
 * Routes of batches: create from an uploaded file, look, list, cancel.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import type { Clock } from '../../shared/base/clock.js';
import {
  type BatchRecord,
  createBatchSchema,
  DEFAULT_BATCH_TTL_SECONDS,
  presentBatch,
} from '../../shared/contract/batch.js';
import { HEAD_BYTES, whyNoLines } from '../../shared/contract/batch-file.js';
import { invalid, SluiceError } from '../../shared/contract/errors.js';
import { newId } from '../../shared/contract/ids.js';
import { compileGuard } from '../../shared/contract/schema.js';
import type { Batches } from '../../shared/core/batches/batches.js';
import type { Files } from '../../shared/core/files/files.js';
import type { Submission } from '../../shared/core/jobs/submission/submission.js';
import type { Watermark } from '../../shared/redis/memory-watermark.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import { answerMade, idempotencyOf } from '../http/idempotency.js';
import { type BodyLimits, readJson } from '../http/json-body.js';
import { ID, IDEMPOTENCY_KEY, json, jsonBody, type Operations, ref, routesOf } from '../http/operations.js';
import { PAGE_QUERY, page, pageSchema, parsePage } from '../http/page.js';

export interface BatchRoutesDeps {
  batches: Batches;
  files: Files;
  submission: Submission;
  watermark: Watermark;
  auth: BearerAuth;
  clock: Clock;
  bodyLimits: BodyLimits;
}

type BatchContext = Context & { params: { id: string } };

const guardBatch = compileGuard(createBatchSchema);

const BATCH = json('The batch.', ref('Batch'));

export const batchOperations = {
  'post /v1/batches': {
    operationId: 'createBatch',
    summary: 'Run a file of jobs, one a line',
    scope: 'jobs:write',
    description:
      'Each line of the input file is an object `{customId?, model?, instances, timeoutSeconds?, allowPartial?}`; its job ' +
      "has the priority `bulk`. A `model` must be the batch's own. Results are told apart by `line`; a `customId` may repeat.",
    parameters: [IDEMPOTENCY_KEY],
    requestBody: jsonBody('CreateBatch'),
    responses: { 202: BATCH },
  },
  'get /v1/batches': {
    operationId: 'listBatches',
    summary: "List the tenant's batches, newest first",
    scope: 'jobs:read',
    parameters: PAGE_QUERY,
    responses: { 200: json('A page.', pageSchema(ref('Batch'))) },
  },
  'get /v1/batches/{id}': {
    operationId: 'getBatch',
    summary: 'Look at a batch',
    scope: 'jobs:read',
    parameters: [ID],
    responses: { 200: BATCH },
  },
  'post /v1/batches/{id}/cancel': {
    operationId: 'cancelBatch',
    summary: 'Cancel a batch; what was computed is kept',
    scope: 'jobs:write',
    parameters: [ID],
    responses: { 200: BATCH },
  },
} as const satisfies Operations;

/** Returns the routes of batches. */
export function batchRoutes(deps: BatchRoutesDeps): Router {
  const { batches, files, submission, watermark, auth, clock } = deps;

  async function create(ctx: Context): Promise<void> {
    const { tenant } = principalOf(ctx);
    watermark.check();
    const body = await readJson(ctx, deps.bodyLimits);
    const idempotency = idempotencyOf(ctx, 'batches', body.fingerprint);
    const { model, inputFile, ttlSeconds, metadata } = guardBatch(body.value);
    // The version is decided here, so that the same one computes all lines.
    const { version, alias } = await submission.resolve(model);
    const fault = await inputFault(tenant, inputFile);
    if (fault) throw invalid([{ path: '/inputFile', message: fault }]);
    const spec = {
      id: newId('batch', clock.now()),
      tenant,
      model: version.manifest.name,
      version: version.manifest.version,
      alias,
      metadata: metadata ?? {},
      inputFile,
      outputFile: newId('file', clock.now()),
      errorFile: newId('file', clock.now()),
    };
    const { record, replayed } = await batches.create(
      spec,
      ttlSeconds ?? DEFAULT_BATCH_TTL_SECONDS,
      idempotency,
    );
    answerMade(ctx, 202, `/v1/batches/${record.spec.id}`, replayed);
    ctx.body = presentBatch(record);
  }

  /** Resolves to why the file cannot be worked off. Only its head is read. */
  async function inputFault(tenant: string, id: string): Promise<string | null> {
    const record = await files.get(tenant, id);
    if (!record) return 'is not a file of yours';
    const blob = await files.open(record);
    if (!blob) return 'is no longer kept';
    const head: Buffer[] = [];
    let read = 0;
    for await (const bytes of blob.stream as AsyncIterable<Buffer>) {
      head.push(bytes);
      read += bytes.length;
      if (read >= HEAD_BYTES) break;
    }
    return whyNoLines(Buffer.concat(head).subarray(0, HEAD_BYTES), blob.sizeBytes);
  }

  async function show(ctx: BatchContext): Promise<void> {
    ctx.body = presentBatch(demand(await batches.get(principalOf(ctx).tenant, ctx.params.id)));
  }

  async function list(ctx: Context): Promise<void> {
    const { limit, cursor } = parsePage(ctx, 'batch');
    const { records, nextCursor } = await batches.list(principalOf(ctx).tenant, limit, cursor);
    ctx.body = page(records.map(presentBatch), nextCursor);
  }

  async function cancel(ctx: BatchContext): Promise<void> {
    ctx.body = presentBatch(demand(await batches.cancel(principalOf(ctx).tenant, ctx.params.id)));
  }

  return routesOf(batchOperations, auth, {
    'post /v1/batches': create,
    'get /v1/batches': list,
    'get /v1/batches/{id}': show,
    'post /v1/batches/{id}/cancel': cancel,
  });
}

function demand(record: BatchRecord | null): BatchRecord {
  if (!record) throw new SluiceError('not_found', 'There is no such batch.');
  return record;
}

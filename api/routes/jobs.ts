/**
 * Routes of single jobs: submit, look, wait, list, cancel, retry, erase.
 */
import { createHash } from 'node:crypto';
import type Router from '@koa/router';
import type { Context } from 'koa';
import { isTerminal } from '../../shared/contract/job.js';
import { type JobView, presentJob } from '../../shared/contract/job-view.js';
import { parseSubmit } from '../../shared/contract/json/submit-json.js';
import type { Core } from '../../shared/core/compose.js';
import type { Watermark } from '../../shared/redis/memory-watermark.js';
import type { Audit } from '../auth/audit.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import type { HeldRequest, HeldRequests, Watch } from '../follow/held-requests.js';
import { type JobAnswers, jobIdOf } from '../follow/job-answers.js';
import { answerUnchanged } from '../http/etag.js';
import { answerMade, idempotencyOf } from '../http/idempotency.js';
import { type BodyLimits, readJson } from '../http/json-body.js';
import {
  ID,
  IDEMPOTENCY_KEY,
  json,
  jsonBody,
  NO_CONTENT,
  type Operations,
  ref,
  routesOf,
} from '../http/operations.js';
import { page, pageSchema } from '../http/page.js';
import { HOLD, JOB_QUERY, parseJobFilter, waitMsOf } from '../http/parameters.js';

export interface JobRoutesDeps {
  core: Pick<Core, 'jobs' | 'submission'>;
  heldRequests: HeldRequests;
  answers: JobAnswers;
  watermark: Watermark;
  auth: BearerAuth;
  audit: Audit;
  bodyLimits: BodyLimits;
  maxWaitSeconds: number;
}

type JobContext = Context & { params: { id: string } };

/** A caller that polls is advised to wait for so long. */
const POLL_AFTER_SECONDS = 1;

const JOB = json('The job.', ref('Job'));
export const jobOperations = {
  'post /v1/jobs': {
    operationId: 'submitJob',
    summary: 'Submit a job',
    scope: 'jobs:write',
    parameters: [...HOLD, IDEMPOTENCY_KEY],
    requestBody: jsonBody('Submit'),
    responses: { 200: JOB, 202: JOB },
  },
  'get /v1/jobs': {
    operationId: 'listJobs',
    summary: "List the tenant's jobs, newest first",
    scope: 'jobs:read',
    parameters: JOB_QUERY,
    responses: { 200: json('A page.', pageSchema(ref('Job'))) },
  },
  'get /v1/jobs/{id}': {
    operationId: 'getJob',
    summary: 'Look at a job, or wait for its end',
    scope: 'jobs:read',
    parameters: [ID, ...HOLD],
    responses: { 200: JOB, 304: { description: 'Unchanged.' } },
  },
  'post /v1/jobs/{id}/cancel': {
    operationId: 'cancelJob',
    summary: 'Cancel a job',
    scope: 'jobs:write',
    parameters: [ID],
    responses: { 200: JOB },
  },
  'post /v1/jobs/{id}/retry': {
    operationId: 'retryJob',
    summary: 'Submit the input of a job that has ended again',
    scope: 'jobs:write',
    parameters: [ID, IDEMPOTENCY_KEY],
    responses: { 202: JOB },
  },
  'delete /v1/jobs/{id}': {
    operationId: 'eraseJob',
    summary: 'Erase a job that is not running, with its input and output',
    scope: 'jobs:write',
    parameters: [ID],
    responses: { 204: NO_CONTENT },
  },
} as const satisfies Operations;

/** Returns the routes of jobs. Each refuses a job that does not exist, or belongs to another tenant, with `not_found`. */
export function jobRoutes(deps: JobRoutesDeps): Router {
  const { heldRequests, answers, watermark, auth, audit } = deps;
  const { jobs, submission } = deps.core;

  async function submit(ctx: Context): Promise<void> {
    const { tenant } = principalOf(ctx);
    watermark.check();
    const body = await readJson(ctx, deps.bodyLimits, parseSubmit);
    const waitMs = waitMsOf(ctx, deps.maxWaitSeconds);
    let held = null as HeldRequest | null;
    let watch = null as Watch | null;
    try {
      const { record, replayed } = await submission.submit({
        tenant,
        body: body.value,
        idempotency: idempotencyOf(ctx, 'jobs', body.fingerprint),
        awaitedBy: waitMs > 0 ? heldRequests.awaited : undefined,
        // The watch begins before the job exists, so that its end cannot be missed.
        onChecked(id) {
          if (waitMs > 0) held ??= heldRequests.hold(tenant, waitMs, ctx.res);
          watch = held?.watch(id, 'awaited') ?? null;
        },
      });
      const { id } = record.spec;
      answerMade(ctx, 202, `/v1/jobs/${id}`, replayed);
      if (held && replayed) watch = held.watch(id, 'any');
      const view = await (replayed
        ? answers.onceEnded(watch, tenant, id)
        : answers.onceNewEnded(watch, record));
      answer(ctx, view, isTerminal(view.status) && held ? 200 : 202);
    } finally {
      held?.release();
    }
  }

  /** Resolves to a job once it has ended, or time is up. */
  async function waitFor(ctx: Context, tenant: string, id: string, waitMs: number): Promise<JobView> {
    const held = heldRequests.hold(tenant, waitMs, ctx.res);
    try {
      return await answers.onceEnded(held.watch(id, 'any'), tenant, id);
    } finally {
      held.release();
    }
  }

  /** Returns the text of the answer. */
  function answer(ctx: Context, view: JobView, status: number): string {
    ctx.status = status;
    if (!isTerminal(view.status)) ctx.set('Retry-After', String(POLL_AFTER_SECONDS));
    const text = JSON.stringify(view);
    ctx.type = 'json';
    ctx.body = text;
    return text;
  }

  async function show(ctx: JobContext): Promise<void> {
    const { tenant } = principalOf(ctx);
    const waitMs = waitMsOf(ctx, deps.maxWaitSeconds);
    const id = jobIdOf(ctx);
    const view = waitMs > 0 ? await waitFor(ctx, tenant, id, waitMs) : await answers.read(tenant, id);
    const text = answer(ctx, view, 200);
    answerUnchanged(ctx, createHash('sha1').update(text).digest('base64url'));
  }

  async function list(ctx: Context): Promise<void> {
    const { tenant } = principalOf(ctx);
    const { records, nextCursor } = await jobs.list(tenant, parseJobFilter(ctx));
    ctx.body = page(await Promise.all(records.map((record) => answers.viewOf(record))), nextCursor);
  }

  async function cancel(ctx: JobContext): Promise<void> {
    ctx.body = presentJob(await jobs.cancel(principalOf(ctx).tenant, jobIdOf(ctx)));
  }

  async function retry(ctx: JobContext): Promise<void> {
    const { tenant } = principalOf(ctx);
    const id = jobIdOf(ctx);
    watermark.check();
    const idempotency = idempotencyOf(ctx, 'retry', () => id);
    const { record, replayed } = await submission.retry(tenant, id, idempotency);
    if (!replayed) audit(ctx, 'job.retry', { job: id, newJob: record.spec.id });
    answerMade(ctx, 202, `/v1/jobs/${record.spec.id}`, replayed);
    answer(ctx, await (replayed ? answers.read(tenant, record.spec.id) : answers.viewOf(record)), 202);
  }

  async function erase(ctx: JobContext): Promise<void> {
    const id = jobIdOf(ctx);
    await jobs.erase(principalOf(ctx).tenant, id);
    audit(ctx, 'job.erase', { job: id });
    ctx.status = 204;
  }

  return routesOf(jobOperations, auth, {
    'post /v1/jobs': submit,
    'get /v1/jobs': list,
    'get /v1/jobs/{id}': show,
    'post /v1/jobs/{id}/cancel': cancel,
    'post /v1/jobs/{id}/retry': retry,
    'delete /v1/jobs/{id}': erase,
  });
}

/**
 * Route of many jobs in one request. Each job is made or refused by itself, so a bad one harms no other.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { sha256Of } from '../../shared/base/hash.js';
import type { Logger } from '../../shared/base/log.js';
import { invalid, presentError, SluiceError } from '../../shared/contract/errors.js';
import { isTerminal, MAX_BULK_JOBS } from '../../shared/contract/job.js';
import { type JobView, presentJob } from '../../shared/contract/job-view.js';
import { parseBulkSubmit, parseSubmit } from '../../shared/contract/json/submit-json.js';
import { compileGuard, type JsonSchema } from '../../shared/contract/schema.js';
import type { FindFile } from '../../shared/contract/tensors/input-value.js';
import type { Core } from '../../shared/core/compose.js';
import type { Idempotency } from '../../shared/core/idempotency.js';
import type { Submitted } from '../../shared/core/jobs/submission/job-writer.js';
import type { Watermark } from '../../shared/redis/memory-watermark.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import type { HeldRequest, HeldRequests, Watch } from '../follow/held-requests.js';
import { type JobAnswers, type MayInline, withinBytes } from '../follow/job-answers.js';
import { idempotencyKeyOf, markReplayed } from '../http/idempotency.js';
import {
  type BodyLimits,
  JSON_TYPE,
  NDJSON_TYPE,
  readJsonOfParts,
  readLines,
  typeOf,
} from '../http/json-body.js';
import { IDEMPOTENCY_KEY, json, type Operations, ref, routesOf } from '../http/operations.js';
import { outcomesSchema } from '../http/outcomes.js';
import { HOLD, waitMsOf } from '../http/parameters.js';
import { toSluiceError } from '../http/problem.js';
import type { RequestState } from '../http/request-context.js';

export interface BulkRoutesDeps {
  core: Pick<Core, 'submission' | 'queueStatus'>;
  heldRequests: HeldRequests;
  answers: JobAnswers;
  watermark: Watermark;
  auth: BearerAuth;
  bodyLimits: BodyLimits;
  maxWaitSeconds: number;
  log: Logger;
}

/** So many items are encoded in one go and travel as one pipeline; other requests have their turn before the next ones. */
const WINDOW = 100;
/** Bound of the packed predictions that stand in one answer; those of further jobs are files. */
const MAX_INLINE_PREDICTIONS_BYTES = 4 * 1024 * 1024;
/** The body nests items in an object and an array, so it may be deeper by two levels than an item. */
const ENVELOPE_DEPTH = 2;

/** The guard of the whole body leaves the items to `submit`. */
const bulkSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['jobs'],
  properties: { jobs: { type: 'array' } },
} as const satisfies JsonSchema;
const guardBulk = compileGuard(bulkSchema);

/** Returns the body of an item, or throws the error of a line that is not JSON. */
type Item = () => unknown;
/** A job, and the watch that began before it existed, where the request is held. */
type SubmittedItem = Submitted & { watch: Watch | null };
type ItemResult = SubmittedItem | SluiceError;
/** The part of a submission that all items of a request share. */
interface SharedByItems {
  tenant: string;
  findFile: FindFile;
  held: HeldRequest | null;
}

const BULK = {
  type: 'object',
  additionalProperties: false,
  required: ['jobs'],
  properties: { jobs: { type: 'array', minItems: 1, maxItems: MAX_BULK_JOBS, items: ref('Submit') } },
};

/** The results of a bulk submit, in the order of its items. */
export const bulkResultsSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['results'],
  properties: {
    results: outcomesSchema('A job, or the error of this item.'),
  },
};

export const bulkOperations = {
  'post /v1/jobs/bulk': {
    operationId: 'submitJobs',
    summary: 'Submit up to 1,000 jobs; a bad one harms no other, and a held request answers their results',
    scope: 'jobs:write',
    parameters: [...HOLD, IDEMPOTENCY_KEY],
    requestBody: {
      required: true,
      content: {
        'application/json': { schema: BULK },
        'application/x-ndjson': { schema: { type: 'string', description: 'A job a line.' } },
      },
    },
    responses: { 200: json('What became of each, in their order.', ref('BulkResults')) },
  },
} as const satisfies Operations;

/** Returns the route. It refuses a whole request only for a fault of its head or its body, not for one of an item. */
export function bulkRoutes(deps: BulkRoutesDeps): Router {
  const { heldRequests, answers, watermark, auth, bodyLimits, log } = deps;
  const { submission, queueStatus } = deps.core;

  async function submitMany(ctx: Context): Promise<void> {
    const { tenant } = principalOf(ctx);
    watermark.check();
    const key = idempotencyKeyOf(ctx);
    const items = await readItems(ctx);
    const waitMs = waitMsOf(ctx, deps.maxWaitSeconds);
    const held = waitMs > 0 ? heldRequests.hold(tenant, waitMs, ctx.res) : null;
    const shared = { tenant, findFile: submission.filesOf(tenant), held };
    const make = (item: Item, index: number) => submit(item, shared, itemKey(key, index));
    try {
      const outcomes: ItemResult[] = [];
      for (let start = 0; start < items.length; start += WINDOW) {
        const window = items.slice(start, start + WINDOW);
        outcomes.push(...(await Promise.all(window.map((item, i) => make(item, start + i)))));
      }
      const submitted = outcomes.filter(isSubmitted);
      markReplayed(ctx, submitted.length > 0 && submitted.every(({ replayed }) => replayed));
      ctx.body = { results: await (held ? presentEnded(ctx, outcomes, held) : present(ctx, outcomes)) };
    } finally {
      held?.release();
    }
  }

  async function readItems(ctx: Context): Promise<Item[]> {
    if (typeOf(ctx, JSON_TYPE, NDJSON_TYPE) === NDJSON_TYPE) {
      const lines = await readLines(ctx, bodyLimits, parseSubmit);
      checkCount(lines.length, '');
      return lines;
    }
    const { maxBytes, maxDepth } = bodyLimits;
    const body = await readJsonOfParts(
      ctx,
      { maxBytes, maxDepth: maxDepth + ENVELOPE_DEPTH },
      parseBulkSubmit,
    );
    const { jobs } = guardBulk(body.value);
    checkCount(jobs.length, '/jobs');
    return jobs.map((job) => () => {
      body.demandWholeText(job);
      return job;
    });
  }

  async function submit(item: Item, shared: SharedByItems, keyOf: ItemKey | null): Promise<ItemResult> {
    try {
      const body = item();
      const { tenant, findFile, held } = shared;
      let watch: Watch | null = null;
      const submitted = await submission.submit({
        tenant,
        findFile,
        body,
        idempotency: keyOf?.(body),
        awaitedBy: held ? heldRequests.awaited : undefined,
        onChecked(id) {
          watch = held?.watch(id, 'awaited') ?? null;
        },
      });
      return { ...submitted, watch };
    } catch (error) {
      return toSluiceError(error);
    }
  }

  /** Logs the errors of the service itself, each code once a request. */
  function report(ctx: Context, outcomes: readonly (ItemResult | JobView)[]): void {
    const { requestId } = ctx.state as RequestState;
    const told = new Set<string>();
    for (const [item, error] of outcomes.entries()) {
      if (!(error instanceof SluiceError) || error.status < 500 || told.has(error.code)) continue;
      told.add(error.code);
      log.error({ err: error.cause ?? error, requestId, item }, error.code);
    }
  }

  async function present(ctx: Context, outcomes: readonly ItemResult[]) {
    report(ctx, outcomes);
    const places = await queueStatus.placesOf(outcomes.filter(isSubmitted).map(({ record }) => record));
    return outcomes.map((outcome) =>
      isSubmitted(outcome)
        ? { status: 202, job: presentJob(outcome.record, null, places.get(outcome.record.spec.id) ?? null) }
        : { status: outcome.status, error: presentError(outcome) },
    );
  }

  /** Resolves once all jobs have ended, or time is up. A job that cannot be read now is answered as it was made. */
  async function presentEnded(ctx: Context, outcomes: readonly ItemResult[], held: HeldRequest) {
    const mayInline = withinBytes(MAX_INLINE_PREDICTIONS_BYTES);
    const ends = await Promise.all(
      outcomes.map((outcome) => (isSubmitted(outcome) ? endOf(outcome, held, mayInline) : outcome)),
    );
    report(ctx, ends);
    return ends.map((end, i) => {
      if (!(end instanceof SluiceError)) return { status: isTerminal(end.status) ? 200 : 202, job: end };
      const outcome = outcomes[i];
      if (outcome && isSubmitted(outcome) && end.status >= 500)
        return { status: 202, job: presentJob(outcome.record) };
      return { status: end.status, error: presentError(end) };
    });
  }

  /** Resolves to a job once it has ended, or is waited for no more, or to why it cannot be read. */
  async function endOf({ record, replayed, watch }: SubmittedItem, held: HeldRequest, mayInline: MayInline) {
    const { tenant, id } = record.spec;
    try {
      return await (replayed
        ? answers.onceEnded(held.watch(id, 'any'), tenant, id, mayInline)
        : answers.onceNewEnded(watch, record, mayInline));
    } catch (error) {
      return toSluiceError(error);
    }
  }

  return routesOf(bulkOperations, auth, {
    'post /v1/jobs/bulk': submitMany,
  });
}

type ItemKey = (body: unknown) => Idempotency;

/** Gives each item a key of its own, so a call that is made again finds the job of every place, even after half a success. */
function itemKey(key: string, index: number): ItemKey | null {
  if (key === '') return null;
  return (body) => ({
    route: 'bulk',
    key: `${index}:${key}`,
    fingerprint: sha256Of(JSON.stringify(body)),
  });
}

function isSubmitted(outcome: ItemResult): outcome is SubmittedItem {
  return 'record' in outcome;
}

function checkCount(count: number, path: string): void {
  if (count < 1 || count > MAX_BULK_JOBS)
    throw invalid([{ path, message: `has ${count} jobs, 1 to ${MAX_BULK_JOBS} are taken` }]);
}

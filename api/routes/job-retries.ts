/**
 * Route that submits the inputs of many jobs again. Each new job is made or refused by itself.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { presentError } from '../../shared/contract/errors.js';
import { isTerminal } from '../../shared/contract/job.js';
import { presentJob } from '../../shared/contract/job-view.js';
import { NULLABLE_TEXT } from '../../shared/contract/schema.js';
import type { Core } from '../../shared/core/compose.js';
import type { Watermark } from '../../shared/redis/memory-watermark.js';
import type { Audit } from '../auth/audit.js';
import { type BearerAuth, principalOf } from '../auth/bearer.js';
import { json, type Operations, routesOf } from '../http/operations.js';
import { outcomesSchema } from '../http/outcomes.js';
import { JOB_QUERY, parseJobFilter } from '../http/parameters.js';
import { toSluiceError } from '../http/problem.js';

export interface JobRetriesDeps {
  core: Pick<Core, 'jobs' | 'submission'>;
  watermark: Watermark;
  auth: BearerAuth;
  audit: Audit;
}

const RETRIED = json('What became of each.', {
  type: 'object',
  additionalProperties: false,
  required: ['results', 'nextCursor'],
  properties: {
    results: outcomesSchema('The new job, or the error of this one.', {
      id: { type: 'string', description: 'The job that was to be retried.' },
    }),
    nextCursor: NULLABLE_TEXT,
  },
});

export const jobRetryOperations = {
  'post /v1/jobs/retry': {
    operationId: 'retryJobs',
    summary: 'Submit the inputs of all jobs of a filter again (failed ones unless told)',
    scope: 'admin',
    parameters: JOB_QUERY,
    responses: { 200: RETRIED },
  },
} as const satisfies Operations;

/** Returns the route. */
export function jobRetryRoutes({ core, watermark, auth, audit }: JobRetriesDeps): Router {
  const { jobs, submission } = core;

  async function retryMany(ctx: Context): Promise<void> {
    const { tenant } = principalOf(ctx);
    const { records, nextCursor } = await jobs.list(tenant, parseJobFilter(ctx, 'failed'));
    const results = [];
    for (const { spec, status } of records) {
      if (!isTerminal(status)) continue;
      try {
        watermark.check();
        const { record } = await submission.retry(tenant, spec.id);
        audit(ctx, 'job.retry', { job: spec.id, newJob: record.spec.id });
        results.push({ id: spec.id, status: 202, job: presentJob(record) });
      } catch (error) {
        const problem = toSluiceError(error);
        results.push({ id: spec.id, status: problem.status, error: presentError(problem) });
      }
    }
    ctx.body = { results, nextCursor };
  }

  return routesOf(jobRetryOperations, auth, { 'post /v1/jobs/retry': retryMany });
}

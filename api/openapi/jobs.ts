/**
 * Jobs in the OpenAPI document.
 */
import { ERRORS } from '../../shared/contract/errors.js';
import { MAX_BULK_JOBS, submitSchema } from '../../shared/contract/job.js';
import { jobViewSchema } from '../../shared/contract/job-view.js';
import { ID, IDEMPOTENCY_KEY, json, operation, page, query, ref } from './parts.js';
import { problemSchema } from './problem.js';

const bulkResultsSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['results'],
  properties: {
    results: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['status'],
        description: 'A job, or the error of this item.',
        properties: {
          status: { type: 'integer' },
          job: { $ref: '#/components/schemas/Job' },
          error: {
            type: 'object',
            additionalProperties: false,
            required: ['code', 'message', 'retryable'],
            properties: {
              code: { enum: Object.keys(ERRORS) },
              message: { type: 'string' },
              retryable: { type: 'boolean' },
              retryAfterSeconds: { type: 'integer' },
              errors: { ...problemSchema.properties.errors, description: 'Paths begin at the item.' },
            },
          },
        },
      },
    },
  },
};

const JOB = json('The job.', ref('Job'));
const LAST_EVENT_ID = {
  name: 'Last-Event-ID',
  in: 'header',
  schema: { type: 'string' },
  description: '`id` of the last event seen: goes on after it.',
};
const LIST_QUERY = query('status', 'model', 'from', 'to', 'limit', 'cursor');
const WAIT = {
  name: 'wait',
  in: 'query',
  schema: { type: 'integer', minimum: 0 },
  description: 'Seconds to hold the request.',
};
const PREFER = {
  name: 'Prefer',
  in: 'header',
  schema: { type: 'string' },
  description: '`wait=10`: seconds to hold the request (RFC 7240).',
};
const BULK = {
  type: 'object',
  additionalProperties: false,
  required: ['jobs'],
  properties: { jobs: { type: 'array', minItems: 1, maxItems: MAX_BULK_JOBS, items: ref('Submit') } },
};

/** `maxInstances`: of a job, as the operator has it. */
export function jobSchemas(maxInstances: number) {
  const { properties } = submitSchema;
  const instances = { ...properties.instances, maxItems: maxInstances };
  return {
    Submit: { ...submitSchema, properties: { ...properties, instances } },
    Job: jobViewSchema,
    BulkResults: bulkResultsSchema,
  };
}

export const jobPaths = {
  '/v1/jobs': {
    post: operation('submitJob', 'Submit a job', {
      parameters: [PREFER, WAIT, IDEMPOTENCY_KEY],
      requestBody: { required: true, content: { 'application/json': { schema: ref('Submit') } } },
      responses: { 200: JOB, 202: JOB },
    }),
    get: operation('listJobs', "List the tenant's jobs, newest first", {
      parameters: LIST_QUERY,
      responses: { 200: json('A page.', page(ref('Job'))) },
    }),
  },
  '/v1/jobs/bulk': {
    post: operation('submitJobs', 'Submit up to 1,000 jobs; a bad one harms no other', {
      parameters: [IDEMPOTENCY_KEY],
      requestBody: {
        required: true,
        content: {
          'application/json': { schema: BULK },
          'application/x-ndjson': { schema: { type: 'string', description: 'A job a line.' } },
        },
      },
      responses: { 200: json('What became of each, in their order.', ref('BulkResults')) },
    }),
  },
  '/v1/jobs/{id}': {
    get: operation('getJob', 'Look at a job, or wait for its end', {
      parameters: [ID, WAIT, PREFER],
      responses: { 200: JOB, 304: { description: 'Unchanged.' } },
    }),
    delete: operation('eraseJob', 'Erase a job that is not running, with its input and output', {
      parameters: [ID],
      responses: { 204: { description: 'It is gone.' } },
    }),
  },
  '/v1/jobs/{id}/events': {
    get: operation('followJob', 'Follow a job to its end by Server-Sent Events', {
      description:
        '`status` of the present state and of each change, `progress` while it runs in several slices, last `done` ' +
        'with the job as `getJob` shows it, then the stream ends.',
      parameters: [ID, LAST_EVENT_ID],
      responses: {
        200: {
          description: 'The events.',
          content: { 'text/event-stream': { schema: { type: 'string' } } },
        },
        204: { description: 'All events were seen: `done` was the last.' },
      },
    }),
  },
  '/v1/jobs/{id}/retry': {
    post: operation('retryJob', 'Submit the input of a job that has ended again', {
      parameters: [ID, IDEMPOTENCY_KEY],
      responses: { 202: JOB },
    }),
  },
  '/v1/jobs/retry': {
    post: operation(
      'retryJobs',
      'Submit the inputs of all jobs of a filter again (failed ones unless told)',
      {
        parameters: LIST_QUERY,
        responses: { 200: json('What became of each.', { type: 'object' }) },
      },
    ),
  },
  '/v1/jobs/{id}/cancel': {
    post: operation('cancelJob', 'Cancel a job', { parameters: [ID], responses: { 200: JOB } }),
  },
};

/**
 * Jobs in the OpenAPI document.
 */
import { ERRORS } from '../../shared/contract/errors.js';
import { JOB_STATUSES, MAX_BULK_JOBS, PRIORITIES, submitSchema } from '../../shared/contract/job.js';
import type { JsonSchema } from '../../shared/contract/schema.js';
import { ID, IDEMPOTENCY_KEY, json, NULLABLE_TIME, operation, page, query, ref, TIME } from './parts.js';
import { errorSchema, problemSchema } from './problem.js';

const timingsSchema = {
  type: ['object', 'null'],
  additionalProperties: false,
  properties: {
    queueMs: { type: 'number' },
    batchWaitMs: { type: 'number' },
    computeMs: { type: 'number' },
    totalMs: { type: 'number' },
    batchSize: { type: 'integer' },
    backend: { type: 'string' },
  },
} as const satisfies JsonSchema;

export const jobSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['id', 'object', 'status', 'model', 'createdAt', 'predictions', 'error', 'links'],
  properties: {
    id: { type: 'string' },
    object: { const: 'job' },
    status: { enum: JOB_STATUSES },
    model: {
      type: 'object',
      required: ['name', 'version', 'alias'],
      additionalProperties: false,
      properties: {
        name: { type: 'string' },
        version: { type: 'integer' },
        alias: { type: ['string', 'null'] },
      },
    },
    createdAt: TIME,
    startedAt: NULLABLE_TIME,
    finishedAt: NULLABLE_TIME,
    retryOf: { type: ['string', 'null'] },
    expiresAt: TIME,
    deletedAfter: NULLABLE_TIME,
    priority: { enum: PRIORITIES },
    attempts: { type: 'integer' },
    history: {
      type: 'array',
      description: 'Attempts that failed and were followed by another.',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['attempt', 'startedAt', 'finishedAt', 'error'],
        properties: { attempt: { type: 'integer' }, startedAt: TIME, finishedAt: TIME, error: errorSchema },
      },
    },
    queuePosition: { type: ['integer', 'null'] },
    estimatedStartAt: NULLABLE_TIME,
    progress: {
      type: ['object', 'null'],
      description: 'Instances computed, while a job runs that is larger than a batch.',
      additionalProperties: false,
      required: ['done', 'total'],
      properties: { done: { type: 'integer' }, total: { type: 'integer' } },
    },
    cached: { type: 'boolean', description: 'The predictions were computed for an equal job.' },
    predictions: {
      description: 'One element per instance; a file of them (JSON) where they are more than 256 KiB.',
      anyOf: [
        { type: 'array', items: {} },
        {
          type: 'object',
          additionalProperties: false,
          required: ['file', 'url'],
          properties: { file: { type: 'string' }, url: { type: 'string' } },
        },
        { type: 'null' },
      ],
    },
    error: errorSchema,
    metadata: { type: 'object', additionalProperties: { type: 'string' } },
    webhook: { anyOf: [submitSchema.properties.webhook, { type: 'null' }] },
    usage: {
      type: 'object',
      additionalProperties: false,
      properties: { instances: { type: 'integer' }, computeMs: { type: 'number' } },
    },
    timings: timingsSchema,
    links: { type: 'object', additionalProperties: { type: 'string' } },
  },
} as const satisfies JsonSchema;

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
    Job: jobSchema,
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

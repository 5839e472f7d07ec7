/**
 * The OpenAPI 3.1 document, made of the schemas that also check the requests.
 */
import { ERRORS } from '../shared/base/errors.js';
import { VERSION } from '../shared/base/version.js';
import { BATCH_STATUSES, createBatchSchema } from '../shared/contract/batch.js';
import { JOB_STATUSES, PRIORITIES, submitSchema } from '../shared/contract/job.js';
import type { JsonSchema } from '../shared/contract/schema.js';
import { modelPaths, modelSchemas } from './openapi-models.js';
import {
  ID,
  IDEMPOTENCY_KEY,
  json,
  NULLABLE_TIME,
  operation,
  page,
  query,
  ref,
  TIME,
} from './openapi-parts.js';
import { webhookPaths, webhookSchemas } from './openapi-webhooks.js';
import { MAX_JOBS } from './routes/bulk.js';

export const problemSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'retryable', 'requestId'],
  additionalProperties: false,
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    instance: { type: 'string' },
    code: { enum: Object.keys(ERRORS) },
    retryable: { type: 'boolean' },
    requestId: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['path', 'message'],
        additionalProperties: false,
        properties: { path: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
} as const satisfies JsonSchema;

const workerSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['id', 'host', 'pid', 'software', 'roles', 'startedAt', 'seenAt', 'devices', 'models'],
  properties: {
    id: { type: 'string' },
    host: { type: 'string' },
    pid: { type: 'integer' },
    software: { type: 'string', description: 'Version of Sluice.' },
    roles: { type: 'array', items: { type: 'string' } },
    startedAt: TIME,
    seenAt: TIME,
    devices: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['backend', 'device', 'name', 'memoryBytes', 'pid', 'rssBytes'],
        properties: {
          backend: { type: 'string' },
          device: { type: 'string' },
          name: { type: ['string', 'null'], description: 'Of the GPU or CPU, where it is known.' },
          memoryBytes: {
            type: ['integer', 'null'],
            description: 'Memory of the GPU, with a CPU of its machine, where it is known.',
          },
          pid: { type: ['integer', 'null'], description: 'The process that computes.' },
          rssBytes: { type: ['integer', 'null'], description: 'What it held after its last batch.' },
        },
      },
    },
    models: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['model', 'version', 'backend', 'loaded'],
        properties: {
          model: { type: 'string' },
          version: { type: 'integer' },
          backend: { type: 'string' },
          loaded: { type: 'boolean', description: 'False while it makes room for others.' },
        },
      },
    },
  },
} as const satisfies JsonSchema;

const errorSchema = {
  type: ['object', 'null'],
  required: ['code', 'message', 'retryable'],
  additionalProperties: false,
  properties: {
    code: { enum: Object.keys(ERRORS) },
    message: { type: 'string' },
    retryable: { type: 'boolean' },
    instanceErrors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['index', 'code', 'message'],
        additionalProperties: false,
        properties: { index: { type: 'integer' }, code: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
} as const satisfies JsonSchema;

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

const fileSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['id', 'bytes', 'sha256', 'contentType', 'filename', 'createdAt', 'expiresAt'],
  properties: {
    id: { type: 'string' },
    bytes: { type: 'integer' },
    sha256: { type: 'string' },
    contentType: { type: 'string' },
    filename: { type: ['string', 'null'] },
    createdAt: TIME,
    expiresAt: TIME,
    url: {
      type: 'string',
      format: 'uri-reference',
      description: 'Reads the content without an API key for an hour; only where one file is looked at.',
    },
  },
} as const satisfies JsonSchema;

const COUNT = { type: 'integer' } as const;

export const batchSchema = {
  type: 'object',
  additionalProperties: false,
  required: [
    'id',
    'object',
    'status',
    'model',
    'inputFile',
    'outputFile',
    'errorFile',
    'counts',
    'createdAt',
  ],
  properties: {
    id: { type: 'string' },
    object: { const: 'batch' },
    status: { enum: BATCH_STATUSES },
    model: jobSchema.properties.model,
    inputFile: { type: 'string' },
    outputFile: {
      type: ['string', 'null'],
      description: 'File of JSON lines, once it has ended: `{line, customId, job, predictions}`.',
    },
    errorFile: {
      type: ['string', 'null'],
      description:
        'File of JSON lines, of those without predictions: `{line, customId, job, status, error}`.',
    },
    counts: {
      type: 'object',
      additionalProperties: false,
      required: ['total', 'succeeded', 'failed', 'canceled', 'expired'],
      properties: {
        total: { type: ['integer', 'null'], description: 'Null until the lines have been counted.' },
        succeeded: COUNT,
        failed: COUNT,
        canceled: COUNT,
        expired: COUNT,
      },
    },
    createdAt: TIME,
    startedAt: NULLABLE_TIME,
    finishedAt: NULLABLE_TIME,
    expiresAt: TIME,
    deletedAfter: NULLABLE_TIME,
    error: errorSchema,
    metadata: { type: 'object', additionalProperties: { type: 'string' } },
    links: { type: 'object', additionalProperties: { type: 'string' } },
  },
} as const satisfies JsonSchema;

const JOB = json('The job.', ref('Job'));
const BATCH = json('The batch.', ref('Batch'));
const LAST_EVENT_ID = {
  name: 'Last-Event-ID',
  in: 'header',
  schema: { type: 'string' },
  description: '`id` of the last event seen: goes on after it.',
};
const LIST_QUERY = query('status', 'model', 'from', 'to', 'limit', 'cursor');
const PAGE_QUERY = query('limit', 'cursor');
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

export function openApiDocument({ maxInstances }: { maxInstances: number }) {
  const submit = {
    ...submitSchema,
    properties: {
      ...submitSchema.properties,
      instances: { ...submitSchema.properties.instances, maxItems: maxInstances },
    },
  };
  const bulk = {
    type: 'object',
    additionalProperties: false,
    required: ['jobs'],
    properties: { jobs: { type: 'array', minItems: 1, maxItems: MAX_JOBS, items: ref('Submit') } },
  };
  return {
    openapi: '3.1.0',
    info: { title: 'Sluice', version: VERSION, description: 'Queue-based asynchronous inference.' },
    security: [{ apiKey: [] }],
    paths: {
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
              'application/json': { schema: bulk },
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
      '/v1/files': {
        post: operation('uploadFile', 'Upload a file', {
          parameters: [IDEMPOTENCY_KEY],
          requestBody: {
            required: true,
            content: {
              'multipart/form-data': {
                schema: {
                  type: 'object',
                  additionalProperties: false,
                  required: ['file'],
                  properties: { file: { type: 'string', contentMediaType: 'application/octet-stream' } },
                },
              },
            },
          },
          responses: { 201: json('The file.', ref('File')) },
        }),
        get: operation('listFiles', "List the tenant's files, newest first", {
          parameters: PAGE_QUERY,
          responses: { 200: json('A page.', page(ref('File'))) },
        }),
      },
      '/v1/files/{id}': {
        get: operation('getFile', 'Look at a file', {
          parameters: [ID],
          responses: { 200: json('The file, and an address to download it for an hour.', ref('File')) },
        }),
        delete: operation('deleteFile', 'Delete a file', {
          parameters: [ID],
          responses: { 204: { description: 'It is gone.' } },
        }),
      },
      '/v1/files/{id}/content': {
        get: operation('downloadFile', 'Download a file, with an API key or by its signed address', {
          security: [{ apiKey: [] }, {}],
          parameters: [
            ID,
            { name: 'expires', in: 'query', schema: { type: 'string' } },
            { name: 'signature', in: 'query', schema: { type: 'string' } },
          ],
          responses: {
            200: { description: 'The bytes.', content: { 'application/octet-stream': { schema: {} } } },
          },
        }),
      },
      '/v1/batches': {
        post: operation('createBatch', 'Run a file of jobs, one a line', {
          description:
            'Each line of the input file is an object `{customId?, instances, timeoutSeconds?, allowPartial?}`; its job has ' +
            'the priority `bulk`.',
          parameters: [IDEMPOTENCY_KEY],
          requestBody: { required: true, content: { 'application/json': { schema: ref('CreateBatch') } } },
          responses: { 202: BATCH },
        }),
        get: operation('listBatches', "List the tenant's batches, newest first", {
          parameters: PAGE_QUERY,
          responses: { 200: json('A page.', page(ref('Batch'))) },
        }),
      },
      '/v1/batches/{id}': {
        get: operation('getBatch', 'Look at a batch', { parameters: [ID], responses: { 200: BATCH } }),
      },
      '/v1/batches/{id}/cancel': {
        post: operation('cancelBatch', 'Cancel a batch; what was computed is kept', {
          parameters: [ID],
          responses: { 200: BATCH },
        }),
      },
      '/v1/workers': {
        get: operation('listWorkers', 'Who computes, what and on which device', {
          responses: { 200: json('All workers heard of in the last ten seconds.', page(ref('Worker'))) },
        }),
      },
      '/v1/queues': {
        get: operation('listQueues', 'What waits, by model', {
          responses: { 200: json('All queues.', page({ type: 'object' })) },
        }),
      },
      '/v1/queues/{model}/pause': {
        post: operation('pauseQueue', 'Start no more jobs of a model', {
          parameters: [{ ...ID, name: 'model' }],
          responses: { 200: json('The queue.', { type: 'object' }) },
        }),
      },
      '/v1/queues/{model}/resume': {
        post: operation('resumeQueue', 'Start jobs of a model again', {
          parameters: [{ ...ID, name: 'model' }],
          responses: { 200: json('The queue.', { type: 'object' }) },
        }),
      },
      '/v1/jobs/{id}/cancel': {
        post: operation('cancelJob', 'Cancel a job', { parameters: [ID], responses: { 200: JOB } }),
      },
      ...modelPaths,
      ...webhookPaths,
      '/livez': {
        get: operation('livez', 'Whether the process answers', {
          security: [],
          responses: { 200: json('It does.', { type: 'object' }) },
        }),
      },
      '/readyz': {
        get: operation('readyz', 'Whether to send it requests', {
          security: [],
          responses: { 200: json('Yes.', { type: 'object' }) },
        }),
      },
      '/openapi.json': {
        get: operation('openapi', 'This document', {
          security: [],
          responses: { 200: json('The document.', { type: 'object' }) },
        }),
      },
    },
    components: {
      securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } },
      schemas: {
        Submit: submit,
        Job: jobSchema,
        BulkResults: bulkResultsSchema,
        File: fileSchema,
        CreateBatch: createBatchSchema,
        ...modelSchemas,
        Batch: batchSchema,
        Worker: workerSchema,
        ...webhookSchemas,
        Problem: problemSchema,
      },
    },
  };
}

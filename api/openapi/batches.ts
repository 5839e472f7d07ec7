/**
 * Batches in the OpenAPI document.
 */
import { BATCH_STATUSES, createBatchSchema } from '../../shared/contract/batch.js';
import type { JsonSchema } from '../../shared/contract/schema.js';
import { jobSchema } from './jobs.js';
import { ID, IDEMPOTENCY_KEY, json, NULLABLE_TIME, operation, PAGE_QUERY, page, ref, TIME } from './parts.js';
import { errorSchema } from './problem.js';

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

const BATCH = json('The batch.', ref('Batch'));

export const batchSchemas = { CreateBatch: createBatchSchema, Batch: batchSchema };

export const batchPaths = {
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
};

/**
 * Batches in the OpenAPI document.
 */
import { batchViewSchema, createBatchSchema } from '../../shared/contract/batch.js';
import { ID, IDEMPOTENCY_KEY, json, operation, PAGE_QUERY, page, ref } from './parts.js';

const BATCH = json('The batch.', ref('Batch'));

export const batchSchemas = { CreateBatch: createBatchSchema, Batch: batchViewSchema };

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

/**
 * What operators look at and hold back, in the OpenAPI document: workers and queues.
 */
import { queueViewSchema } from '../../shared/contract/queue-view.js';
import { workerViewSchema } from '../../shared/contract/worker-view.js';
import { ID, json, operation, page, ref, WHOLE_QUERY } from './parts.js';

const QUEUE = json('The queue.', ref('Queue'));

export const operatorSchemas = { Worker: workerViewSchema, Queue: queueViewSchema };

export const operatorPaths = {
  '/v1/workers': {
    get: operation('listWorkers', 'Who computes, what and on which device', {
      parameters: WHOLE_QUERY,
      responses: { 200: json('All workers heard of in the last ten seconds.', page(ref('Worker'))) },
    }),
  },
  '/v1/queues': {
    get: operation('listQueues', 'What waits, by model', {
      parameters: WHOLE_QUERY,
      responses: { 200: json('All queues.', page(ref('Queue'))) },
    }),
  },
  '/v1/queues/{model}/pause': {
    post: operation('pauseQueue', 'Start no more jobs of a model', {
      parameters: [{ ...ID, name: 'model' }],
      responses: { 200: QUEUE },
    }),
  },
  '/v1/queues/{model}/resume': {
    post: operation('resumeQueue', 'Start jobs of a model again', {
      parameters: [{ ...ID, name: 'model' }],
      responses: { 200: QUEUE },
    }),
  },
};

/**
 * What operators look at and hold back, in the OpenAPI document: workers and queues.
 */
import type { JsonSchema } from '../../shared/contract/schema.js';
import { ID, json, NULLABLE_TIME, operation, page, ref, TIME, WHOLE_QUERY } from './parts.js';

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

export const queueSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['model', 'queued', 'paused', 'pausedAt', 'versions'],
  properties: {
    model: { type: 'string' },
    queued: { type: 'integer', description: 'Jobs that wait, of all versions.' },
    paused: { type: 'boolean' },
    pausedAt: NULLABLE_TIME,
    versions: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['version', 'queued', 'nextAgeMs', 'startsPerSecond'],
        properties: {
          version: { type: 'integer' },
          queued: { type: 'integer' },
          nextAgeMs: { type: ['number', 'null'], description: 'Age of the job that starts next.' },
          startsPerSecond: {
            type: ['number', 'null'],
            description: 'Jobs started in a second, while jobs waited; null when that was not measured.',
          },
        },
      },
    },
  },
} as const satisfies JsonSchema;

const QUEUE = json('The queue.', ref('Queue'));

export const operatorSchemas = { Worker: workerSchema, Queue: queueSchema };

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

/**
 * The OpenAPI 3.1 document, made of the schemas that also check the requests.
 */
import { VERSION } from '../../shared/base/version.js';
import { batchPaths, batchSchemas } from './batches.js';
import { filePaths, fileSchemas } from './files.js';
import { jobPaths, jobSchemas } from './jobs.js';
import { modelPaths, modelSchemas } from './models.js';
import { operatorPaths, operatorSchemas } from './operators.js';
import { json, operation } from './parts.js';
import { problemSchema } from './problem.js';
import { webhookPaths, webhookSchemas } from './webhooks.js';

export function openApiDocument({ maxInstances }: { maxInstances: number }) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version: VERSION,
      description:
        'Queue-based asynchronous inference. A parameter in a query that a call does not name here is refused with 422.',
    },
    security: [{ apiKey: [] }],
    paths: {
      ...jobPaths,
      ...filePaths,
      ...batchPaths,
      ...modelPaths,
      ...webhookPaths,
      ...operatorPaths,
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
        ...jobSchemas(maxInstances),
        ...fileSchemas,
        ...batchSchemas,
        ...modelSchemas,
        ...webhookSchemas,
        ...operatorSchemas,
        Problem: problemSchema,
      },
    },
  };
}

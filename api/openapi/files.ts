/**
 * Files in the OpenAPI document.
 */
import type { JsonSchema } from '../../shared/contract/schema.js';
import { ID, IDEMPOTENCY_KEY, json, operation, PAGE_QUERY, page, ref, TIME } from './parts.js';

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

export const fileSchemas = { File: fileSchema };

export const filePaths = {
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
};

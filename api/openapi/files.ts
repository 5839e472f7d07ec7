/**
 * Files in the OpenAPI document.
 */
import { fileViewSchema } from '../../shared/contract/file.js';
import { ID, IDEMPOTENCY_KEY, json, operation, PAGE_QUERY, page, ref } from './parts.js';

export const fileSchemas = { File: fileViewSchema };

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

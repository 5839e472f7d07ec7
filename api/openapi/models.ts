/**
 * Models in the OpenAPI document: versions, aliases, uploads.
 */

import { putAliasSchema } from '../../shared/contract/models/alias.js';
import { modelViewSchema, versionViewSchema } from '../../shared/contract/models/model-view.js';
import { ID, json, operation, page, ref, WHOLE_QUERY } from './parts.js';

export const modelSchemas = {
  ModelVersion: versionViewSchema,
  Model: {
    ...modelViewSchema,
    properties: { ...modelViewSchema.properties, versions: { type: 'array', items: ref('ModelVersion') } },
  },
  PutAlias: putAliasSchema,
};

const NAME = { ...ID, name: 'name' };
const VERSION = { ...ID, name: 'version' };
const THE_MODEL = json('The model.', ref('Model'));

export const modelPaths = {
  '/v1/models': {
    get: operation('listModels', 'List models', {
      parameters: WHOLE_QUERY,
      responses: { 200: json('All models.', page(ref('Model'))) },
    }),
  },
  '/v1/models/{name}': {
    get: operation('getModel', 'Look at a model', { parameters: [NAME], responses: { 200: THE_MODEL } }),
  },
  '/v1/models/{name}/aliases/{alias}': {
    put: operation('moveAlias', 'Say which version an alias means', {
      parameters: [NAME, { ...ID, name: 'alias' }],
      requestBody: { required: true, content: { 'application/json': { schema: ref('PutAlias') } } },
      responses: { 200: THE_MODEL },
    }),
  },
  '/v1/models/{name}/versions': {
    post: operation(
      'uploadVersion',
      'Upload a version: a part `file` for each of its files, or an `archive`',
      {
        parameters: [
          NAME,
          {
            name: 'quantize',
            in: 'query',
            description: 'Weights of a tfjs model with golden vectors are kept as this.',
            schema: { enum: ['float16', 'uint8'] },
          },
          {
            name: 'tolerance',
            in: 'query',
            description: 'Largest change of golden vectors with which the version may serve.',
            schema: { type: 'number', exclusiveMinimum: 0, maximum: 1, default: 0.01 },
          },
        ],
        requestBody: {
          required: true,
          content: {
            'multipart/form-data': {
              schema: {
                type: 'object',
                additionalProperties: false,
                anyOf: [{ required: ['file'] }, { required: ['archive'] }],
                properties: {
                  archive: {
                    type: 'string',
                    description: "A tar file, gzipped or not, of the version's folder.",
                    contentMediaType: 'application/gzip',
                  },
                  file: {
                    type: 'array',
                    minItems: 1,
                    maxItems: 1000,
                    description: "The filename of each is its path inside the version's folder.",
                    items: { type: 'string', contentMediaType: 'application/octet-stream' },
                  },
                },
              },
            },
          },
        },
        responses: { 202: json('The version; a worker decides whether it serves.', ref('ModelVersion')) },
      },
    ),
  },
  '/v1/models/{name}/versions/{version}': {
    get: operation('getVersion', 'Look at a version', {
      parameters: [NAME, VERSION],
      responses: { 200: json('The version.', ref('ModelVersion')) },
    }),
    delete: operation('retireVersion', 'Take no new jobs for a version; those accepted are computed', {
      parameters: [NAME, VERSION],
      responses: { 200: THE_MODEL },
    }),
  },
  '/v1/models/{name}/versions/{version}/schema': {
    get: operation('getSchema', 'JSON Schemas of an instance and a prediction', {
      parameters: [NAME, VERSION],
      responses: { 200: json('The schemas.', { type: 'object' }) },
    }),
  },
};

/**
 * Models in the OpenAPI document: versions, aliases, uploads.
 */

import { putAliasSchema } from '../../shared/contract/models/alias.js';
import { manifestSchema } from '../../shared/contract/models/manifest.js';
import { VERSION_STATES } from '../../shared/contract/models/version-state.js';
import type { JsonSchema } from '../../shared/contract/schema.js';
import { ID, json, NULLABLE_TIME, operation, page, ref, TIME, WHOLE_QUERY } from './parts.js';

const { signature, batching, quantization } = manifestSchema.properties;
const COUNT: JsonSchema = { type: 'integer', minimum: 0 };
const NULLABLE_TEXT: JsonSchema = { type: ['string', 'null'] };

const versionProperties = {
  version: { type: 'integer', minimum: 1 },
  state: { enum: VERSION_STATES, description: '`ready` once a worker has loaded and checked it.' },
  workers: {
    ...COUNT,
    description:
      'Live workers that serve it, as of the last three seconds; jobs of a version without one wait.',
  },
  signature,
  batching,
  quantization: { anyOf: [quantization, { type: 'null' }] },
  backend: { ...NULLABLE_TEXT, description: 'On which the worker that last reported it serves it.' },
  sizeBytes: COUNT,
  sha256: { type: 'string', description: "Of the version's files and their hashes." },
  createdAt: TIME,
  error: { ...NULLABLE_TEXT, description: 'Why it does not serve.' },
  metrics: {
    type: ['object', 'null'],
    description: 'Loading, warm-up and golden vectors; with `auto` what the backends were measured at.',
  },
} as const satisfies JsonSchema['properties'];

export const versionSchema = {
  type: 'object',
  additionalProperties: false,
  required: Object.keys(versionProperties),
  properties: versionProperties,
} as const satisfies JsonSchema;

const canarySchema = {
  type: 'object',
  additionalProperties: false,
  required: ['version', 'percent', 'minJobs', 'maxErrorPercent', 'maxSlowdown', 'state', 'startedAt'],
  properties: {
    version: { type: 'integer' },
    percent: { type: 'number' },
    minJobs: { type: 'integer' },
    maxErrorPercent: { type: 'number' },
    maxSlowdown: { type: 'number' },
    state: { enum: ['running', 'rolled_back'] },
    startedAt: TIME,
    reason: { ...NULLABLE_TEXT, description: 'Why it was rolled back.' },
    endedAt: NULLABLE_TIME,
  },
} as const satisfies JsonSchema;

const shadowSchema = {
  type: 'object',
  required: ['version', 'percent', 'compared', 'agreed', 'failed'],
  properties: {
    version: { type: 'integer' },
    percent: { type: 'number' },
    compared: { ...COUNT, description: 'Instances whose predictions were compared.' },
    agreed: { ...COUNT, description: 'Of them those that agreed.' },
    failed: { ...COUNT, description: 'Copies that failed though the other version computed.' },
  },
} as const satisfies JsonSchema;

const byAlias = (schema: JsonSchema) => ({ type: 'object', additionalProperties: schema }) as const;

/** `version`: the schema, or where it stands. */
function modelSchemaWith(version: object) {
  return {
    type: 'object',
    additionalProperties: false,
    required: ['name', 'description', 'versions', 'aliases', 'canaries', 'shadows'],
    properties: {
      name: { type: 'string' },
      description: { type: 'string' },
      versions: { type: 'array', items: version },
      aliases: byAlias({ type: 'integer' }),
      canaries: byAlias(canarySchema),
      shadows: byAlias(shadowSchema),
    },
  } as const;
}

export const modelSchema = modelSchemaWith(versionSchema);

export const modelSchemas = {
  ModelVersion: versionSchema,
  Model: modelSchemaWith(ref('ModelVersion')),
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

/**
 * Routes of models: look at models, versions and their schemas; upload a version, move an alias.
 *
 * No route serves weights.
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { invalid, SluiceError } from '../../shared/contract/errors.js';
import { putAliasSchema } from '../../shared/contract/models/alias.js';
import { isAlias } from '../../shared/contract/models/model-ref.js';
import type { VersionView } from '../../shared/contract/models/model-view.js';
import { fitFault } from '../../shared/contract/models/signature-fit.js';
import { compileGuard } from '../../shared/contract/schema.js';
import { publishedSchemas } from '../../shared/contract/tensors/signature.js';
import { isUnreadable, type Model } from '../../shared/core/models/model-record.js';
import type { Models } from '../../shared/core/models/models.js';
import { MAX_FILES } from '../../shared/core/models/received-files.js';
import type { Shadows } from '../../shared/core/models/shadows.js';
import type { VersionRepository } from '../../shared/core/models/version-repository.js';
import type { Workers } from '../../shared/core/workers/workers.js';
import type { Audit } from '../auth/audit.js';
import type { BearerAuth } from '../auth/bearer.js';
import { type BodyLimits, readJson } from '../http/json-body.js';
import { readFileParts } from '../http/multipart.js';
import { ID, json, jsonBody, type Operations, ref, routesOf } from '../http/operations.js';
import { page, pageSchema, WHOLE_QUERY } from '../http/page.js';
import { quantizeOf } from '../http/parameters.js';
import { findModel, findVersion, presentModel, presentVersion } from './model-views.js';

export interface ModelRoutesDeps {
  models: Models;
  auth: BearerAuth;
  audit: Audit;
  repository: VersionRepository;
  shadows: Shadows;
  workers: Pick<Workers, 'servers'>;
  bodyLimits: BodyLimits;
  /** The bound of all files of an uploaded version together. */
  maxBytes: number;
}

type Params = { name?: string; version?: string; alias?: string };

const guardAlias = compileGuard(putAliasSchema);

const NAME = { ...ID, name: 'name' };
const VERSION = { ...ID, name: 'version' };
const THE_MODEL = json('The model.', ref('Model'));
const SCHEMAS = json('The schemas, in JSON Schema 2020-12.', {
  type: 'object',
  additionalProperties: false,
  required: ['instance', 'prediction'],
  properties: { instance: { type: 'object' }, prediction: { type: 'object' } },
});

export const modelOperations = {
  'get /v1/models': {
    operationId: 'listModels',
    summary: 'List models',
    scope: 'models:read',
    parameters: WHOLE_QUERY,
    responses: { 200: json('All models.', pageSchema(ref('Model'))) },
  },
  'get /v1/models/{name}': {
    operationId: 'getModel',
    summary: 'Look at a model',
    scope: 'models:read',
    parameters: [NAME],
    responses: { 200: THE_MODEL },
  },
  'post /v1/models/{name}/versions': {
    operationId: 'uploadVersion',
    summary: 'Upload a version: a part `file` for each of its files, or an `archive`',
    scope: 'models:write',
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
                description: "A tar file, gzipped or not, or a zip file of the version's folder.",
                contentMediaType: 'application/octet-stream',
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
  'get /v1/models/{name}/versions/{version}': {
    operationId: 'getVersion',
    summary: 'Look at a version',
    scope: 'models:read',
    parameters: [NAME, VERSION],
    responses: { 200: json('The version.', ref('ModelVersion')) },
  },
  'get /v1/models/{name}/versions/{version}/schema': {
    operationId: 'getSchema',
    summary: 'JSON Schemas of an instance and a prediction',
    scope: 'models:read',
    parameters: [NAME, VERSION],
    responses: { 200: SCHEMAS },
  },
  'put /v1/models/{name}/aliases/{alias}': {
    operationId: 'moveAlias',
    summary: 'Say which version an alias means',
    scope: 'models:write',
    parameters: [NAME, { ...ID, name: 'alias' }],
    requestBody: jsonBody('PutAlias'),
    responses: { 200: THE_MODEL },
  },
} as const satisfies Operations;

/**
 * Returns the routes of models. Each refuses a model or a version that does not exist with `model_not_found`.
 *
 * @param deps `workers` tells how many workers serve each version; `maxBytes` bounds the files of an upload together
 */
export function modelRoutes(deps: ModelRoutesDeps): Router {
  const { models, auth, audit, repository, bodyLimits, maxBytes } = deps;
  const present = (model: Model) => presentModel(model, deps);

  const find = (name: string) => findModel(models, name);

  async function showVersion(params: Params): Promise<VersionView> {
    return presentVersion(
      findVersion(await find(params.name ?? ''), params.version),
      await deps.workers.servers(),
    );
  }

  async function upload(ctx: Context & { params: Params }): Promise<void> {
    const received = await repository.receive(ctx.params.name ?? '', quantizeOf(ctx));
    try {
      const limits = { maxBytes, maxParts: MAX_FILES, names: ['file', 'archive'] };
      await readFileParts(ctx, limits, ({ name: part, filename, content }) =>
        part === 'archive' ? received.unpack(content, maxBytes) : received.write(filename ?? '', content),
      );
      const { name, version } = await received.finish();
      audit(ctx, 'version.upload', { model: name, version });
      ctx.status = 202;
      ctx.set('Location', `/v1/models/${name}/versions/${version}`);
      ctx.body = await showVersion({ name, version: String(version) });
    } finally {
      await received.discard();
    }
  }

  async function moveAlias(ctx: Context & { params: Params }): Promise<void> {
    const { name = '', alias = '' } = ctx.params;
    const { versions } = await find(name);
    if (!isAlias(alias)) throw invalid([{ path: '/alias', message: 'must be a lower-case name' }]);
    const request = guardAlias((await readJson(ctx, bodyLimits)).value);
    const { version, canary, shadow } = request;
    for (const [kind, beside] of Object.entries({ canary, shadow }))
      if (beside?.version === version)
        throw invalid([{ path: `/${kind}/version`, message: 'must be another than the version beside it' }]);
    const manifestOf = (number?: number) =>
      versions.find(({ manifest }) => manifest.version === number)?.manifest;
    const stable = manifestOf(version);
    const faults = Object.entries({ canary, shadow }).flatMap(([kind, each]) => {
      const beside = manifestOf(each?.version);
      const fault = stable && beside ? fitFault(stable, beside) : null;
      return fault === null
        ? []
        : [
            {
              path: `/${kind}/version`,
              message: `does not take the jobs of version ${version}: it ${fault}`,
            },
          ];
    });
    if (faults.length > 0) throw invalid(faults);
    await models.moveAlias(name, alias, request);
    audit(ctx, 'alias.move', {
      model: name,
      alias,
      version,
      ...(canary && { canary: canary.version }),
      ...(shadow && { shadow: shadow.version }),
    });
    ctx.body = await present(await find(name));
  }

  return routesOf(modelOperations, auth, {
    'get /v1/models': async (ctx) => {
      ctx.body = page(await Promise.all((await models.list()).map(present)));
    },
    'get /v1/models/{name}': async (ctx) => {
      ctx.body = await present(await find(ctx.params.name));
    },
    'post /v1/models/{name}/versions': upload,
    'get /v1/models/{name}/versions/{version}': async (ctx) => {
      ctx.body = await showVersion(ctx.params);
    },
    'get /v1/models/{name}/versions/{version}/schema': async (ctx) => {
      const version = findVersion(await find(ctx.params.name), ctx.params.version);
      if (isUnreadable(version)) throw new SluiceError('model_failed', version.error ?? undefined);
      ctx.body = publishedSchemas(version.manifest);
    },
    'put /v1/models/{name}/aliases/{alias}': moveAlias,
  });
}

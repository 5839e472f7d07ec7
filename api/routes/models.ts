/**
 * Routes of models: what may be submitted and in which form, what is uploaded, what an alias means, what is retired.
 * Weights are served by no route.
 */
import Router from '@koa/router';
import type { Context } from 'koa';
import type { Clock } from '../../shared/base/clock.js';
import { invalid, SluiceError } from '../../shared/contract/errors.js';
import { putAliasSchema } from '../../shared/contract/models/alias.js';
import { isAlias } from '../../shared/contract/models/model-ref.js';
import type { ModelView, VersionView } from '../../shared/contract/models/model-view.js';
import { compileGuard } from '../../shared/contract/schema.js';
import { publishedSchemas } from '../../shared/contract/tensors/signature.js';
import type { Model, Version } from '../../shared/core/models/model-record.js';
import type { Models } from '../../shared/core/models/models.js';
import type { Shadows } from '../../shared/core/models/shadows.js';
import { MAX_FILES, type VersionRepository } from '../../shared/core/models/version-repository.js';
import type { Workers } from '../../shared/core/workers/workers.js';
import { unpack } from '../../shared/model-packages/archive.js';
import type { Audit } from '../auth/audit.js';
import type { createAuth } from '../auth/bearer.js';
import { type BodyLimits, readJson } from '../http/json-body.js';
import { readFileParts } from '../http/multipart.js';
import { page } from '../http/page.js';
import { quantizeOf } from '../http/parameters.js';

export interface ModelRoutesDeps {
  models: Models;
  auth: ReturnType<typeof createAuth>;
  audit: Audit;
  repository: VersionRepository;
  shadows: Shadows;
  workers: Pick<Workers, 'servers'>;
  clock: Clock;
  bodyLimits: BodyLimits;
  /** The bound of all files of an uploaded version together. */
  maxBytes: number;
}

type Params = { name?: string; version?: string; alias?: string };

const guardAlias = compileGuard(putAliasSchema);

export function modelRoutes(deps: ModelRoutesDeps): Router {
  const { models, auth, audit, repository, clock, bodyLimits, maxBytes } = deps;

  async function find(name: string): Promise<Model> {
    const model = await models.find(name);
    if (!model) throw new SluiceError('model_not_found', `There is no model "${name}".`);
    return model;
  }

  async function present(model: Model): Promise<ModelView> {
    const { name, description, versions, aliases, canaries, shadows } = model;
    const servers = await deps.workers.servers();
    const agreements = Object.entries(shadows).map(
      async ([alias, shadow]) =>
        [alias, { ...shadow, ...(await deps.shadows.read(name, shadow.version)) }] as const,
    );
    return {
      name,
      description,
      versions: versions.map((version) => presentVersion(version, servers)),
      aliases,
      canaries,
      shadows: Object.fromEntries(await Promise.all(agreements)),
    };
  }

  async function findVersion({ name = '', version: text }: Params): Promise<Version> {
    const { versions } = await find(name);
    const version = versions.find(({ manifest }) => String(manifest.version) === text);
    if (!version) throw new SluiceError('model_not_found', `The model "${name}" has no version ${text}.`);
    return version;
  }

  async function showVersion(params: Params): Promise<VersionView> {
    return presentVersion(await findVersion(params), await deps.workers.servers());
  }

  async function upload(ctx: Context & { params: Params }): Promise<void> {
    const received = await repository.receive(ctx.params.name ?? '', quantizeOf(ctx));
    try {
      const limits = { maxBytes, maxParts: MAX_FILES, names: ['file', 'archive'] };
      await readFileParts(ctx, clock, limits, ({ name: part, filename, content }) =>
        part === 'archive'
          ? unpack(content, maxBytes, received.write)
          : received.write(filename ?? '', content),
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
    await find(name);
    if (!isAlias(alias)) throw invalid([{ path: '/alias', message: 'must be a lower-case name' }]);
    const request = guardAlias((await readJson(ctx, bodyLimits)).value);
    const { version, canary, shadow } = request;
    for (const [kind, beside] of Object.entries({ canary, shadow }))
      if (beside?.version === version)
        throw invalid([{ path: `/${kind}/version`, message: 'must be another than the version beside it' }]);
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

  async function retire(ctx: Context & { params: Params }): Promise<void> {
    const { name, version } = (await findVersion(ctx.params)).manifest;
    await models.retire(name, version);
    audit(ctx, 'version.retire', { model: name, version });
    ctx.body = await present(await find(name));
  }

  return new Router()
    .get('/v1/models', auth('models:read'), async (ctx) => {
      ctx.body = page(await Promise.all((await models.list()).map(present)));
    })
    .get('/v1/models/:name', auth('models:read'), async (ctx) => {
      ctx.body = await present(await find(ctx.params.name ?? ''));
    })
    .post('/v1/models/:name/versions', auth('models:write'), upload)
    .get('/v1/models/:name/versions/:version', auth('models:read'), async (ctx) => {
      ctx.body = await showVersion(ctx.params);
    })
    .get('/v1/models/:name/versions/:version/schema', auth('models:read'), async (ctx) => {
      ctx.body = publishedSchemas((await findVersion(ctx.params)).manifest);
    })
    .put('/v1/models/:name/aliases/:alias', auth('models:write'), moveAlias)
    .delete('/v1/models/:name/versions/:version', auth('models:write'), retire);
}

function presentVersion(
  { manifest, state, backend, sizeBytes, sha256, createdAt, error, metrics }: Version,
  servers: (model: string, version: number) => number,
): VersionView {
  const { version, signature, batching, quantization = null } = manifest;
  return {
    version,
    state,
    workers: servers(manifest.name, version),
    signature,
    batching,
    quantization,
    backend,
    sizeBytes,
    sha256,
    createdAt,
    error,
    metrics,
  };
}

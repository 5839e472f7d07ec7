/**
 * Routes of models: what may be submitted, and in which form. Weights are served by no route.
 */
import Router from '@koa/router';
import { SluiceError } from '../../shared/base/errors.js';
import { publishedSchemas } from '../../shared/contract/signature.js';
import type { Model, Models, Version } from '../../shared/core/models.js';
import type { createAuth } from '../middleware/auth.js';

export function modelRoutes({
  models,
  auth,
}: {
  models: Models;
  auth: ReturnType<typeof createAuth>;
}): Router {
  async function find(name: string): Promise<Model> {
    const model = await models.find(name);
    if (!model) throw new SluiceError('not_found', 'There is no such model.');
    return model;
  }

  return new Router()
    .get('/v1/models', auth('models:read'), async (ctx) => {
      ctx.body = { data: (await models.list()).map(presentModel), nextCursor: null };
    })
    .get('/v1/models/:name', auth('models:read'), async (ctx) => {
      ctx.body = presentModel(await find(ctx.params.name ?? ''));
    })
    .get('/v1/models/:name/versions/:version/schema', auth('models:read'), async (ctx) => {
      const { versions } = await find(ctx.params.name ?? '');
      const version = versions.find(({ manifest }) => String(manifest.version) === ctx.params.version);
      if (!version) throw new SluiceError('not_found', 'There is no such version.');
      ctx.body = publishedSchemas(version.manifest);
    });
}

function presentModel({ name, description, versions, aliases }: Model) {
  return { name, description, versions: versions.map(presentVersion), aliases };
}

function presentVersion({ manifest, state, backend, sizeBytes, sha256, createdAt, error, metrics }: Version) {
  const { version, signature, batching } = manifest;
  return { version, state, signature, batching, backend, sizeBytes, sha256, createdAt, error, metrics };
}

/**
 * Routes that take versions and models away: retire a version, purge it, delete a model.
 *
 * A purge that cannot be done at once is answered with 202 and is done by upkeep (core/models/version-purge.ts).
 */
import type Router from '@koa/router';
import type { Context } from 'koa';
import { SluiceError } from '../../shared/contract/errors.js';
import { versionKey } from '../../shared/contract/models/model-ref.js';
import type { Version } from '../../shared/core/models/model-record.js';
import type { Models } from '../../shared/core/models/models.js';
import type { VersionPurge } from '../../shared/core/models/version-purge.js';
import type { Audit } from '../auth/audit.js';
import type { BearerAuth } from '../auth/bearer.js';
import { ID, json, type Operations, ref, routesOf } from '../http/operations.js';
import { booleanOf } from '../http/parameters.js';
import { findModel, findVersion, type ModelViewDeps, presentModel } from './model-views.js';

export interface ModelRemovalDeps extends ModelViewDeps {
  models: Models;
  versionPurge: Pick<VersionPurge, 'purgeModel' | 'purgeVersion'>;
  auth: BearerAuth;
  audit: Audit;
  /** The versions in the folder of bundled models, as `versionKey` names them. */
  bundled: ReadonlySet<string>;
  /** How long an uploaded version is kept once it is retired; 0 = for ever. */
  retentionMs: number;
  onError: (kind: string, error: unknown) => void;
}

type Params = { name?: string; version?: string };

const NAME = { ...ID, name: 'name' };
const VERSION = { ...ID, name: 'version' };

export const modelRemovalOperations = {
  'delete /v1/models/{name}/versions/{version}': {
    operationId: 'retireVersion',
    summary: 'Take no new jobs for a version; those accepted are computed',
    scope: 'models:write',
    parameters: [
      NAME,
      VERSION,
      {
        name: 'purge',
        in: 'query',
        description:
          'Deletes its files and its record, too, once no job needs them. Its number is not given again.',
        schema: { type: 'boolean', default: false },
      },
    ],
    responses: {
      200: json('The model.', ref('Model')),
      202: json('Retired; it is purged when its last job has ended.', ref('Model')),
    },
  },
  'delete /v1/models/{name}': {
    operationId: 'deleteModel',
    summary: 'Delete a model with all its versions; jobs that were accepted are computed first',
    scope: 'models:write',
    parameters: [NAME],
    responses: {
      200: json('The model, which is gone.', ref('Model')),
      202: json('The model, which goes when its last job has ended.', ref('Model')),
    },
  },
} as const satisfies Operations;

/** Returns the routes that take away. Each refuses a model or a version that does not exist with `model_not_found`. */
export function modelRemovalRoutes(deps: ModelRemovalDeps): Router {
  const { models, versionPurge, auth, audit, bundled, retentionMs, workers, onError } = deps;

  async function retire(ctx: Context & { params: Params }): Promise<void> {
    const { name = '', version: text } = ctx.params;
    const purges = booleanOf(ctx, 'purge');
    const model = await findModel(models, name);
    if (!model.purged.includes(Number(text))) {
      const version = findVersion(model, text);
      const { version: number } = version.manifest;
      if (purges) await demandUnbundled(`Version ${number} of ${name}`, [version]);
      const keptMs = purges ? 0 : retentionMs || null;
      await models.retire(name, number, version.uploaded || purges ? keptMs : null);
      audit(ctx, purges ? 'version.purge' : 'version.retire', { model: name, version: number });
      if (purges && !(await isGone(versionPurge.purgeVersion(name, number)))) ctx.status = 202;
    }
    ctx.body = await presentModel((await models.read(name)) ?? model, deps);
  }

  async function remove(ctx: Context & { params: Params }): Promise<void> {
    const { name = '' } = ctx.params;
    const model = await findModel(models, name);
    await demandUnbundled(`The model "${name}"`, model.versions);
    if (!(await models.remove(name)))
      throw new SluiceError('model_not_found', `There is no model "${name}".`);
    audit(ctx, 'model.delete', { model: name });
    const view = await presentModel((await models.read(name)) ?? model, deps);
    ctx.status = (await isGone(versionPurge.purgeModel(name))) ? 200 : 202;
    ctx.body = view;
  }

  /** Upkeep does what cannot be done now, because a store fails. */
  async function isGone(purging: Promise<boolean>): Promise<boolean> {
    return purging.catch((error: unknown) => {
      onError('purge', error);
      return false;
    });
  }

  /** Refuses a version that the models folder of this process or of a worker holds: it would come back at the next start. */
  async function demandUnbundled(what: string, versions: readonly Version[]): Promise<void> {
    const servers = await workers.servers();
    const held = versions.find(({ manifest: { name, version }, uploaded }) => {
      return bundled.has(versionKey(name, version)) || (!uploaded && servers(name, version) > 0);
    });
    if (!held) return;
    const { name, version } = held.manifest;
    throw new SluiceError(
      'model_bundled',
      `${what} cannot be deleted, because the models folder holds ${name}/${version}. Remove that folder and restart Sluice first.`,
    );
  }

  return routesOf(modelRemovalOperations, auth, {
    'delete /v1/models/{name}/versions/{version}': retire,
    'delete /v1/models/{name}': remove,
  });
}

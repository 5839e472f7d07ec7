/**
 * Finds models and versions, and presents them as callers see them.
 */
import { toTimestamp } from '../../shared/base/clock.js';
import { SluiceError } from '../../shared/contract/errors.js';
import type { ModelView, VersionView } from '../../shared/contract/models/model-view.js';
import { isUnreadable, type Model, type Version } from '../../shared/core/models/model-record.js';
import type { Models } from '../../shared/core/models/models.js';
import { demandUnpurged } from '../../shared/core/models/resolve-version.js';
import type { Shadows } from '../../shared/core/models/shadows.js';
import type { Workers } from '../../shared/core/workers/workers.js';

/**
 * Returns a model, one that is being deleted, too.
 * @throws {SluiceError} `model_not_found`.
 */
export async function findModel(models: Pick<Models, 'find'>, name: string): Promise<Model> {
  const model = await models.find(name);
  if (!model) throw new SluiceError('model_not_found', `There is no model "${name}".`);
  return model;
}

/**
 * Returns a version of a model by its number as the path has it.
 * @throws {SluiceError} `model_not_found`; `version_retired` for one that was purged.
 */
export function findVersion(model: Model, text = ''): Version {
  const version = model.versions.find(({ manifest }) => String(manifest.version) === text);
  if (version) return version;
  demandUnpurged(model, { version: Number(text) });
  throw new SluiceError('model_not_found', `The model "${model.name}" has no version ${text}.`);
}

export interface ModelViewDeps {
  shadows: Pick<Shadows, 'read'>;
  workers: Pick<Workers, 'servers'>;
}

/** Returns a model with its versions and their workers. */
export async function presentModel(model: Model, deps: ModelViewDeps): Promise<ModelView> {
  const { name, description, deleting, versions, aliases, canaries, shadows } = model;
  const servers = await deps.workers.servers();
  const agreements = Object.entries(shadows).map(
    async ([alias, shadow]) =>
      [alias, { ...shadow, ...(await deps.shadows.read(name, shadow.version)) }] as const,
  );
  return {
    name,
    description,
    deleting,
    versions: versions.map((version) => presentVersion(version, servers)),
    aliases,
    canaries,
    shadows: Object.fromEntries(await Promise.all(agreements)),
  };
}

/**
 * Returns a version.
 *
 * @param servers tells how many workers serve a version
 */
export function presentVersion(
  found: Version,
  servers: (model: string, version: number) => number,
): VersionView {
  const { manifest, state, waitingFor, backend, sizeBytes, sha256 } = found;
  const { createdAt, deletedAfter, error, warnings, metrics } = found;
  const { version, signature, signatures = {}, batching } = manifest;
  const isRead = !isUnreadable(found);
  const { signatureName = null, quantization = null } = manifest;
  return {
    version,
    state,
    workers: servers(manifest.name, version),
    waitingFor,
    signature: isRead ? signature : null,
    signatureName,
    signatures,
    batching: isRead ? batching : null,
    quantization,
    stateful: manifest.stateful !== undefined,
    backend,
    sizeBytes,
    sha256,
    createdAt,
    deletedAfter: deletedAfter === null ? null : toTimestamp(deletedAfter),
    error,
    warnings,
    metrics,
  };
}
